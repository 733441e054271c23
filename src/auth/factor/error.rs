//! Why a second factor does not count. Messages are safe to send: they never repeat any part of what was shown.

use thiserror::Error;

/// Why a code of an authenticator app was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum CodeError {
    /// It is not the code of this time, nor of the half minute before or after.
    #[error("the code is wrong, or too old")]
    Wrong,
    /// It is right, but it or a later one was used before.
    #[error("the code was used already; wait for the next one")]
    Used,
}

/// Why a step-up token was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum StepUpError {
    /// It is not a signed JWT of the form that we issue.
    #[error("the step-up token is malformed")]
    Malformed,
    /// We did not sign it, or not as a step-up token.
    #[error("the step-up token's signature does not match")]
    BadSignature,
    /// It is meant for something else.
    #[error("the token is not a step-up token")]
    WrongAudience,
    /// Somebody else stepped up.
    #[error("the step-up token is another subject's")]
    WrongSubject,
    /// Its time has passed.
    #[error("the step-up token has expired")]
    Expired,
}
