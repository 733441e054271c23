//! 32 bytes in base 58, as Solana writes addresses and hashes. The library that does it elsewhere stays in `chains/solana`.

const DIGITS: &[u8; 58] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
/// As many digits as 32 bytes have at most.
const LONGEST: usize = 44;

pub(super) fn encode(bytes: &[u8; 32]) -> String {
    // The lowest digit first.
    let mut digits: Vec<u8> = Vec::with_capacity(LONGEST);
    for byte in bytes {
        let mut carry = u32::from(*byte);
        for digit in &mut digits {
            carry += u32::from(*digit) << 8;
            *digit = remainder(&mut carry, 58);
        }
        while carry > 0 {
            digits.push(remainder(&mut carry, 58));
        }
    }
    let zeros = bytes.iter().take_while(|byte| **byte == 0).map(|_| 0);
    zeros.chain(digits.into_iter().rev()).map(|digit| char::from(DIGITS[usize::from(digit)])).collect()
}

/// Nothing for what is not 32 bytes.
pub(super) fn decode(text: &str) -> Option<[u8; 32]> {
    if text.len() > LONGEST {
        return None;
    }
    // The lowest byte first.
    let mut bytes = [0; 32];
    for letter in text.bytes() {
        let mut carry = u32::try_from(DIGITS.iter().position(|digit| *digit == letter)?).ok()?;
        for byte in &mut bytes {
            carry += u32::from(*byte) * 58;
            *byte = remainder(&mut carry, 256);
        }
        if carry > 0 {
            return None;
        }
    }
    bytes.reverse();
    // Zeros in front count: there is one way only to write 32 bytes.
    (encode(&bytes) == text).then_some(bytes)
}

/// Takes the lowest digit off a number.
fn remainder(number: &mut u32, base: u32) -> u8 {
    let digit = *number % base;
    *number /= base;
    u8::try_from(digit).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::blocks::digest;

    #[test]
    fn the_digits_are_those_of_the_library() {
        let mut samples: Vec<[u8; 32]> = (0..200_u32).map(|number| digest(&[&number.to_le_bytes()])).collect();
        samples.extend([[0; 32], [0xff; 32]]);
        samples[0][..5].fill(0);
        for bytes in samples {
            let text = bs58::encode(bytes).into_string();
            assert_eq!((encode(&bytes), decode(&text)), (text.clone(), Some(bytes)));
        }
        let long = "z".repeat(44);
        for bad in ["", "1", "0OIl", &"1".repeat(33), &long, "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1l"] {
            assert_eq!(decode(bad), None, "{bad}");
        }
    }
}
