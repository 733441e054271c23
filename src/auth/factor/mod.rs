//! The second factor: what proves, beside a token, that its bearer is there.
//!
//! Owns codes of authenticator apps, recovery codes, and the step-up token that either is exchanged for. Nothing here
//! keeps or counts anything: who has enrolled, which step and which recovery code was used, and how often somebody
//! guessed is for the caller, who has a transaction. Another kind of proof gets a file here.

mod error;
mod recovery;
mod step_up;
mod totp;

pub use error::{CodeError, StepUpError};
pub use recovery::{IssuedRecoveryCode, RECOVERY_CODES, RecoveryCodes, RecoveryHash};
pub(super) use step_up::STEP_UP_AUDIENCE;
pub use step_up::{StepUp, StepUpToken};
pub use totp::{Step, TotpSeal, TotpSecret};
