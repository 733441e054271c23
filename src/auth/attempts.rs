//! How often somebody may guess: so seldom that guessing never pays.
//!
//! A code of six digits is drawn for before it is compared, good or bad, so that guesses that come at the same time are
//! counted all the same. A key cannot be guessed at all, so only bad ones are counted, for the sake of the database.

use std::{net::IpAddr, time::Duration};

use crate::limits::{Caller, Decision, Demand, Limiter, Policy};

const WINDOW: Duration = Duration::from_mins(15);
const CODES_OF_A_SUBJECT: u32 = 5;
const CODES_FROM_AN_ADDRESS: u32 = 20;
const BAD_KEYS_FROM_AN_ADDRESS: u32 = 20;

/// What is counted.
#[derive(Debug, Clone, Copy)]
enum Guess {
    SubjectCode,
    AddressCode,
    AddressKey,
}

/// There were too many; there may be another one after this time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TooMany {
    pub(super) retry_after: Duration,
}

/// The accounts of those who guess. Where nodes share limits, all nodes count together.
#[derive(Debug, Clone)]
pub(super) struct Attempts(Limiter);

impl Attempts {
    pub(super) fn new(limiter: Limiter) -> Self {
        Self(limiter)
    }

    /// Draws for a code that is about to be looked at.
    pub(super) async fn code(&self, subject: &str, address: IpAddr) -> Result<(), TooMany> {
        // The address first: whoever has used up a subject's attempts goes on to the next subject.
        self.draw(Guess::AddressCode, &Caller::of_address(address)).await?;
        self.draw(Guess::SubjectCode, &Caller::of_subject(subject)).await
    }

    /// Whether a key from this address, which may be bad, may be looked up. Draws nothing.
    pub(super) async fn may_show_key(&self, address: IpAddr) -> Result<(), TooMany> {
        let caller = Caller::of_address(address);
        match self.0.check(&caller, &[demand(Guess::AddressKey, 0)]).await {
            Decision::Allowed { states } if states.iter().any(|standing| standing.remaining == 0) => {
                // Tells exactly how long to wait.
                self.draw(Guess::AddressKey, &caller).await
            }
            decision => outcome(&decision),
        }
    }

    /// A bad key came from this address.
    pub(super) async fn bad_key(&self, address: IpAddr) -> Result<(), TooMany> {
        self.draw(Guess::AddressKey, &Caller::of_address(address)).await
    }

    async fn draw(&self, guess: Guess, caller: &Caller) -> Result<(), TooMany> {
        outcome(&self.0.check(caller, &[demand(guess, 1)]).await)
    }
}

fn demand(guess: Guess, cost: u32) -> Demand {
    let (name, limit) = match guess {
        Guess::SubjectCode => ("auth.factor.subject", CODES_OF_A_SUBJECT),
        Guess::AddressCode => ("auth.factor.address", CODES_FROM_AN_ADDRESS),
        Guess::AddressKey => ("auth.key.address", BAD_KEYS_FROM_AN_ADDRESS),
    };
    Demand { policy: Policy { name: name.into(), limit, window: WINDOW }, cost }
}

fn outcome(decision: &Decision) -> Result<(), TooMany> {
    match decision {
        Decision::Allowed { .. } => Ok(()),
        Decision::Refused { retry_after, .. } => Err(TooMany { retry_after: *retry_after }),
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use chrono::DateTime;

    use super::*;
    use crate::{config::LimitsConfig, model::Clock};

    const HOME: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
    const AWAY: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2));

    fn attempts() -> Attempts {
        Attempts::new(Limiter::new(Clock::stepped_from(DateTime::UNIX_EPOCH), &LimitsConfig::defaults()))
    }

    /// One comes back every three minutes, wherever the subject calls from.
    #[tokio::test(start_paused = true)]
    async fn a_subject_has_five_codes() {
        let attempts = attempts();
        for _ in 0..5 {
            assert_eq!(attempts.code("alice", HOME).await, Ok(()));
        }
        let retry_after = Duration::from_mins(3);
        assert_eq!(attempts.code("alice", AWAY).await, Err(TooMany { retry_after }));
        assert_eq!(attempts.code("bob", HOME).await, Ok(()));
        tokio::time::advance(retry_after).await;
        assert_eq!(attempts.code("alice", HOME).await, Ok(()));
        assert!(attempts.code("alice", HOME).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_has_twenty_codes_for_all_subjects() {
        let attempts = attempts();
        for subject in 0..20 {
            assert_eq!(attempts.code(&subject.to_string(), HOME).await, Ok(()));
        }
        let retry_after = Duration::from_secs(45);
        assert_eq!(attempts.code("alice", HOME).await, Err(TooMany { retry_after }));
        assert_eq!(attempts.code("alice", AWAY).await, Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn only_bad_keys_are_counted() {
        let attempts = attempts();
        for _ in 0..100 {
            assert_eq!(attempts.may_show_key(HOME).await, Ok(()));
        }
        for _ in 0..20 {
            assert_eq!((attempts.may_show_key(HOME).await, attempts.bad_key(HOME).await), (Ok(()), Ok(())));
        }
        let refused = Err(TooMany { retry_after: Duration::from_secs(45) });
        assert_eq!((attempts.may_show_key(HOME).await, attempts.bad_key(HOME).await), (refused, refused));
        assert_eq!(attempts.may_show_key(AWAY).await, Ok(()));
    }
}
