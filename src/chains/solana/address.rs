//! Addresses: 32 bytes in base 58.

use std::sync::Arc;

/// An address. There is one way only to write it.
pub(in crate::chains) fn canonical(text: &str) -> Result<Arc<str>, &'static str> {
    let mut bytes = [0; 32];
    // Longer texts would take longer to decode, and are none.
    let is_short = (32..=44).contains(&text.len());
    match is_short.then(|| bs58::decode(text).onto(&mut bytes)) {
        Some(Ok(32)) => Ok(text.into()),
        _ => Err("must be 32 bytes in base 58"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_32_bytes_in_base_58() {
        for good in ["11111111111111111111111111111111", "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v"] {
            assert_eq!(canonical(good).as_deref(), Ok(good));
        }
        for bad in [
            "",
            "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266",
            "1111111111111111111111111111111",
            "111111111111111111111111111111111",
            "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt10",
            "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1l",
            "zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz",
            &"1".repeat(100_000),
        ] {
            assert!(canonical(bad).is_err(), "{bad}");
        }
    }
}
