//! The second factor: what proves, beside a token, that its bearer is there.
//!
//! Owns codes of authenticator apps, recovery codes, and the step-up token that either is exchanged for. These compute
//! only; `second_factors.rs` keeps who has enrolled, which step and which recovery code was used, and asks how often
//! somebody guessed. Another kind of proof gets a file here.

mod error;
mod recovery;
mod second_factors;
mod step_up;
mod store;
mod totp;

pub use error::{CodeError, FactorError, StepUpError};
pub use recovery::{IssuedRecoveryCode, RECOVERY_CODES, RecoveryCodes, RecoveryHash};
pub(super) use second_factors::SecondFactorParts;
pub use second_factors::{Enrolment, SecondFactors, SteppedUp};
pub use step_up::StepUpToken;
pub(super) use step_up::{EnrolledAt, STEP_UP_AUDIENCE, StepUp};
pub use totp::{Step, TotpSeal, TotpSecret};
