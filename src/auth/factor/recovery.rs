//! Recovery codes: for whoever has lost their authenticator app. Each counts once.

use crate::secrets::{KeyedHash, MasterKey, ShownOnce, constant_time_eq, random};

/// How many a subject is given.
pub const RECOVERY_CODES: usize = 10;

/// Crockford's: no `i`, `l`, `o`, which look like digits, and no `u`. 32 letters, so each stands for five bits.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
/// 50 bits: with few tries an hour, nobody guesses one. The hashes are keyed, so nobody can try them elsewhere.
const LETTERS: usize = 10;
/// Longer input is no code, however it is spaced.
const LONGEST_INPUT_BYTES: usize = 64;

/// What is kept of a recovery code.
pub type RecoveryHash = [u8; 32];

/// A new code, for its subject, and what is kept of it.
pub struct IssuedRecoveryCode {
    /// As it is written down: `xxxxx-xxxxx`.
    pub text: ShownOnce,
    /// What is kept.
    pub hash: RecoveryHash,
}

/// Makes recovery codes and finds them again.
#[derive(Debug)]
pub struct RecoveryCodes(KeyedHash);

impl RecoveryCodes {
    /// Hashes with a key of `master`'s.
    #[must_use]
    pub fn new(master: &MasterKey) -> Self {
        Self(KeyedHash::new(&master.derive("auth/recovery")))
    }

    /// New codes for a subject, in place of all that it has.
    #[must_use]
    pub fn issue(&self, subject: &str) -> [IssuedRecoveryCode; RECOVERY_CODES] {
        std::array::from_fn(|_| {
            let letters: [u8; LETTERS] = random().map(|byte: u8| ALPHABET[usize::from(byte % 32)]);
            let (text, hash) = (letters.iter().copied().map(char::from), self.hash(&letters, subject));
            let (first, second): (String, String) = (text.clone().take(5).collect(), text.skip(5).collect());
            IssuedRecoveryCode { text: format!("{first}-{second}").into(), hash }
        })
    }

    /// Where the typed code stands among those that the subject has left. The caller marks it as used, in the
    /// transaction that it is good for. Case, spaces and dashes do not matter, nor an `o` for a zero.
    #[must_use]
    pub fn find(&self, typed: &str, subject: &str, kept: &[impl AsRef<[u8]>]) -> Option<usize> {
        let hash = self.hash(&letters(typed)?, subject);
        // All are compared, so that the time taken does not tell which one it was.
        kept.iter().enumerate().fold(
            None,
            |found, (place, kept)| {
                if constant_time_eq(kept.as_ref(), &hash) { Some(place) } else { found }
            },
        )
    }

    /// The same code of another subject has another hash. The letters come first, as their number is fixed.
    fn hash(&self, letters: &[u8; LETTERS], subject: &str) -> RecoveryHash {
        self.0.hash(&[letters, subject.as_bytes()])
    }
}

/// The letters that were meant.
fn letters(typed: &str) -> Option<[u8; LETTERS]> {
    if typed.len() > LONGEST_INPUT_BYTES {
        return None;
    }
    let is_dash = |typed: char| matches!(typed, '-' | '_' | '\u{2010}'..='\u{2015}' | '\u{2212}');
    let meant = typed.chars().filter(|typed| !typed.is_whitespace() && !is_dash(*typed)).map(|typed| {
        let letter = match typed.to_ascii_lowercase() {
            'o' => '0',
            'i' | 'l' => '1',
            letter => letter,
        };
        u8::try_from(letter).ok().filter(|letter| ALPHABET.contains(letter))
    });
    meant.collect::<Option<Vec<u8>>>()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    fn issued(codes: &RecoveryCodes, subject: &str) -> (Vec<String>, Vec<RecoveryHash>) {
        codes.issue(subject).into_iter().map(|code| (code.text.into_text(), code.hash)).unzip()
    }

    #[test]
    fn ten_codes_are_given_that_nobody_misreads() {
        let codes = RecoveryCodes::new(&MasterKey::generate());
        let (texts, hashes) = issued(&codes, "alice");
        assert_eq!(texts.iter().collect::<HashSet<_>>().len(), RECOVERY_CODES);
        for (place, text) in texts.iter().enumerate() {
            let (first, second) = text.split_once('-').unwrap();
            assert_eq!((first.len(), second.len()), (5, 5), "{text}");
            assert!(!text.contains(['i', 'l', 'o', 'u']) && *text == text.to_lowercase(), "{text}");
            assert_eq!(codes.find(text, "alice", &hashes), Some(place));
        }
    }

    #[test]
    fn what_people_type_is_what_they_mean() {
        assert_eq!(letters("01abc-de1x0").as_ref(), Some(b"01abcde1x0"));
        for typed in
            ["OLABC DEIXO", " 0 1 a b c d e 1 x 0 ", "oiabcdelxo", "01ABC–DE1X0", "01abc\u{a0}—\u{2212}de1x0\n"]
        {
            assert_eq!(letters(typed).as_ref(), Some(b"01abcde1x0"), "{typed:?}");
        }
        for typed in
            ["", "01abc-de1x", "01abc-de1x00", "01abc-de1xu", "01abc-de1xé", "01abc.de1x0", &"-".repeat(10_000)]
        {
            assert_eq!(letters(typed), None, "{typed:?}");
        }
    }

    #[test]
    fn a_code_counts_for_its_subject_with_its_key_while_it_is_kept() {
        let codes = RecoveryCodes::new(&MasterKey::generate());
        let (texts, hashes) = issued(&codes, "alice");
        assert_eq!(codes.find(&texts[3], "bob", &hashes), None);
        assert_eq!(RecoveryCodes::new(&MasterKey::generate()).find(&texts[3], "alice", &hashes), None);
        assert_eq!(codes.find(&texts[3], "alice", &hashes[4..]), None);
        assert_eq!(codes.find(&texts[3], "alice", &Vec::<Vec<u8>>::new()), None);
        assert_eq!(codes.find(&texts[3], "alice", &[vec![], hashes[3][..31].to_vec(), hashes[3].to_vec()]), Some(2));
    }

    proptest! {
        #[test]
        fn anything_may_be_typed(typed in any::<String>()) {
            let codes = RecoveryCodes::new(&MasterKey::generate());
            prop_assert_eq!(codes.find(&typed, "alice", &[[0; 32]]), None);
        }
    }
}
