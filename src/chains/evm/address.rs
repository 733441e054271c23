//! Addresses, with their checksum (EIP-55).

use std::sync::Arc;

use alloy_primitives::Address;

/// An address with its checksum. One that is written in both cases must have a good one; one in a single case has none.
pub(in crate::chains) fn canonical(text: &str) -> Result<Arc<str>, &'static str> {
    let digits = text.strip_prefix("0x").ok_or("must begin with 0x and have 40 hexadecimal digits")?;
    let address: Address = text.parse().map_err(|_| "must begin with 0x and have 40 hexadecimal digits")?;
    let is_mixed =
        digits.bytes().any(|byte| byte.is_ascii_lowercase()) && digits.bytes().any(|byte| byte.is_ascii_uppercase());
    let canonical = address.to_checksum(None);
    if is_mixed && canonical != text { Err("has a wrong checksum: a letter is mistyped") } else { Ok(canonical.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_checked_and_written_with_their_checksum() {
        const GOOD: &str = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266";
        let upper = format!("0x{}", GOOD[2..].to_uppercase());
        for text in [GOOD, &GOOD.to_lowercase(), &upper] {
            assert_eq!(canonical(text).as_deref(), Ok(GOOD), "{text}");
        }
        let mistyped = GOOD.replace("Fd6", "fd6");
        let shape: Result<(), &str> = Err("must begin with 0x and have 40 hexadecimal digits");
        for (text, expected) in [
            (mistyped.as_str(), Err("has a wrong checksum: a letter is mistyped")),
            ("", shape),
            ("0x", shape),
            (&GOOD[2..], shape),
            (&GOOD[..41], shape),
            ("0xg39fd6e51aad88f6f4ce6ab8827279cfffb92266", shape),
            ("vitalik.eth", shape),
            ("0X39fd6e51aad88f6f4ce6ab8827279cfffb922666", shape),
        ] {
            assert_eq!(canonical(text).err(), expected.err(), "{text}");
        }
    }
}
