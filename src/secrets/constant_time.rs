//! Comparisons whose duration says nothing.

use aws_lc_rs::constant_time::verify_slices_are_equal;

/// Whether both are the same bytes. How long it takes depends on their lengths only, so that nobody can find a secret
/// byte by byte.
#[must_use]
pub fn constant_time_eq(one: &[u8], other: &[u8]) -> bool {
    verify_slices_are_equal(one, other).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_bytes_are_equal() {
        assert!(constant_time_eq(b"", b"") && constant_time_eq(b"abc", b"abc"));
        for other in [&b"abd"[..], b"bbc", b"ab", b"abcd", b""] {
            assert!(!constant_time_eq(b"abc", other), "{other:?}");
        }
    }
}
