//! Bytes that nobody can guess.

use aws_lc_rs::rand::{SecureRandom, SystemRandom};

/// `N` bytes that nobody can guess, from the system. For everything else, `model::Chance` can be seeded.
///
/// # Panics
/// Never: a system without randomness ends the process inside the library, as nothing could be trusted any more.
#[must_use]
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).expect("the library ends the process before it fails");
    bytes
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_two_are_alike() {
        let drawn: HashSet<[u8; 16]> = (0..1_000).map(|_| random()).collect();
        assert_eq!(drawn.len(), 1_000);
    }
}
