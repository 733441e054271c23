//! Messages of transactions, as far as fees depend on them.

use std::sync::Arc;

/// The program that is told how much may be computed, and at what price.
const COMPUTE_BUDGET: &str = "ComputeBudget111111111111111111111111111111";
/// Its instruction that sets the most compute units, and the one that sets their price.
const SET_LIMIT: u8 = 2;
const SET_PRICE: u8 = 3;
const VERSIONED: u8 = 0x80;
/// As large as a packet is.
const LARGEST: usize = 1_232;

/// What fees depend on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Message {
    /// As it was, with a price of nothing, so that its fee is that of its signatures alone.
    pub(super) unpriced: Vec<u8>,
    /// The accounts that it writes, apart from those in look-up tables.
    pub(super) writable: Vec<Arc<str>>,
    /// Its instructions, apart from those about compute units.
    pub(super) instructions: u64,
    /// The most compute units that it asks for, if it does.
    pub(super) unit_limit: Option<u32>,
}

/// Where the reading has come.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Message {
    /// Nothing where the bytes are no message.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader { bytes, at: 0 };
        let first = *bytes.first().filter(|_| bytes.len() <= LARGEST)?;
        let is_versioned = first & VERSIONED != 0;
        if is_versioned {
            reader.take(1).filter(|version| version[0] == VERSIONED)?;
        }
        let header = reader.take(3)?;
        let (signers, readonly_signers, readonly) = (header[0], header[1], header[2]);
        let count = reader.count()?;
        let keys: Vec<&[u8]> = (0..count).map(|_| reader.take(32)).collect::<Option<_>>()?;
        let (signers, readonly_from) = (usize::from(signers), count.checked_sub(usize::from(readonly))?);
        let written_signers = signers.checked_sub(usize::from(readonly_signers))?;
        let is_written = |place: usize| place < written_signers || (signers..readonly_from).contains(&place);
        if written_signers == 0 || signers > readonly_from {
            return None;
        }
        let text = |key: &[u8]| -> Arc<str> { bs58::encode(key).into_string().into() };
        let writable = keys.iter().enumerate().filter(|(place, _)| is_written(*place)).map(|(_, key)| text(key));
        let writable = writable.collect();
        // The hash of a recent block.
        reader.take(32)?;
        let mut message = Self { unpriced: bytes.to_vec(), writable, instructions: 0, unit_limit: None };
        for _ in 0..reader.count()? {
            let program = keys.get(usize::from(reader.take(1)?[0]))?;
            message.instruction(&text(program), &mut reader)?;
        }
        if is_versioned {
            reader.skip_tables()?;
        }
        (reader.at == bytes.len()).then_some(message)
    }

    fn instruction(&mut self, program: &str, reader: &mut Reader<'_>) -> Option<()> {
        let accounts = reader.count()?;
        reader.take(accounts)?;
        let length = reader.count()?;
        let at = reader.at;
        let data = reader.take(length)?;
        if program != COMPUTE_BUDGET {
            self.instructions += 1;
            return Some(());
        }
        match data {
            [SET_LIMIT, limit @ ..] => self.unit_limit = limit.try_into().ok().map(u32::from_le_bytes),
            [SET_PRICE, ..] => self.unpriced[at + 1..at + length].fill(0),
            _ => {}
        }
        Some(())
    }
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let taken = self.bytes.get(self.at..self.at.checked_add(count)?)?;
        self.at += count;
        Some(taken)
    }

    /// A length, seven bits to a byte, in as few bytes as it takes.
    fn count(&mut self) -> Option<usize> {
        let mut count = 0;
        for place in 0..3 {
            let byte = self.take(1)?[0];
            count |= usize::from(byte & 0x7f) << (7 * place);
            if byte & 0x80 == 0 {
                return (byte != 0 || place == 0).then_some(count);
            }
        }
        None
    }

    /// Tables of further addresses: a key each, and which of its entries are written and read.
    fn skip_tables(&mut self) -> Option<()> {
        for _ in 0..self.count()? {
            self.take(32)?;
            for _ in 0..2 {
                let entries = self.count()?;
                self.take(entries)?;
            }
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use base64::{Engine, prelude::BASE64_STANDARD};

    use super::*;

    /// A transfer at a price of 1000, and its accounts.
    const TRANSFER: &str = "AQACBJifUNYRAF+mx7W4OhiraXMNiv9diGZH3tf1cWRCEFeZxvp6877brTo9ZfNqq8l0MbG75MLS9uDkfKYCA0UvXWEA\
        AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAMGRm/lIRcy/+ytunLDm+e8jOW7xfcSayxDmzpAAAAAWSZ3ll/EW9IydJJPRi/96+lAe4ox\
        61sUKxQgj1Rcxf0CAwAJA+gDAAAAAAAAAgIAAQwCAAAAQEtMAAAAAAA=";

    #[test]
    fn what_fees_depend_on_is_read() {
        let bytes = BASE64_STANDARD.decode(TRANSFER).unwrap();
        let message = Message::parse(&bytes).unwrap();
        let written = ["BGmsSmyygo9a4oFiSiXacXnzv3U5TnNFtQLECq51XqrG", "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v"];
        assert_eq!(message.writable, written.map(Arc::from));
        assert_eq!((message.instructions, message.unit_limit), (1, None));
        let changed: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at] != message.unpriced[*at]).collect();
        assert_eq!(changed.len(), 2, "the two bytes of the price that are not zero");
        let mut versioned = vec![VERSIONED];
        versioned.extend(&bytes);
        versioned.push(0);
        assert_eq!(Message::parse(&versioned).unwrap().writable.len(), 2);
        // Sets a limit of 7 instead of a price.
        let mut limited = bytes.clone();
        limited.splice(changed[0] - 2..changed[0] + 8, [5, SET_LIMIT, 7, 0, 0, 0]);
        assert_eq!(Message::parse(&limited).unwrap().unit_limit, Some(7));
    }

    #[test]
    fn what_is_no_message_is_nothing_and_no_panic() {
        let bytes = BASE64_STANDARD.decode(TRANSFER).unwrap();
        for end in 0..bytes.len() {
            assert_eq!(Message::parse(&bytes[..end]), None, "{end}");
        }
        for at in 0..bytes.len() {
            for byte in [0, 0x7f, 0x80, 0xff] {
                let mut spoilt = bytes.clone();
                spoilt[at] = byte;
                Message::parse(&spoilt);
            }
        }
        assert_eq!(Message::parse(&vec![0; LARGEST + 1]), None);
    }
}
