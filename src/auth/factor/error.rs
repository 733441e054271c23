//! Why a second factor does not count. Messages are safe to send: they never repeat any part of what was shown.

use std::time::Duration;

use thiserror::Error;

use crate::{events::EventsError, store::DatabaseError};

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
    /// Its second factor was taken away, or another has taken its place.
    #[error("the second factor that the step-up token stands for does not count any more")]
    FactorGone,
    /// It was revoked, or all tokens of its subject were.
    #[error("the step-up token was revoked")]
    Revoked,
    /// Nobody can tell whether it was revoked, as the database has not been reached yet.
    #[error("the list of revoked tokens is not available")]
    RevocationsUnavailable,
}

/// Why something that needs a second factor, or changes one, was not done.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum FactorError {
    /// Whoever wants it must first enrol a second factor.
    #[error("this needs a second factor, and you have none: enrol one first")]
    EnrolmentNeeded,
    /// Whoever wants it must first show their second factor.
    #[error("this needs your second factor: step up first")]
    StepUpNeeded,
    /// What was shown as a step-up token is none that counts.
    #[error(transparent)]
    BadToken(StepUpError),
    /// There is no second factor, or none that waits to be confirmed.
    #[error("there is no second factor")]
    NotEnrolled,
    /// No second factor waits to be confirmed.
    #[error("no second factor waits to be confirmed: it may have been confirmed already")]
    NothingPending,
    /// The code does not count.
    #[error(transparent)]
    Code(#[from] CodeError),
    /// There were too many codes before.
    #[error("there were too many codes; try again later")]
    TooManyAttempts {
        /// When trying again makes sense.
        retry_after: Duration,
    },
    /// The secret was sealed with another master key.
    #[error("the second factor cannot be read with this master key")]
    Unreadable,
    /// The log was not asked, or did not do it.
    #[error(transparent)]
    Unavailable(#[from] EventsError),
}

impl FactorError {
    /// The label under which it is counted.
    pub(super) fn label(&self) -> &'static str {
        match self {
            Self::EnrolmentNeeded => "enrolment_needed",
            Self::StepUpNeeded => "step_up_needed",
            Self::BadToken(_) => "bad_token",
            Self::NotEnrolled | Self::NothingPending => "not_enrolled",
            Self::Code(CodeError::Wrong) => "wrong",
            Self::Code(CodeError::Used) => "used",
            Self::TooManyAttempts { .. } => "too_many",
            Self::Unreadable => "unreadable",
            Self::Unavailable(_) => "unavailable",
        }
    }
}

impl From<StepUpError> for FactorError {
    fn from(error: StepUpError) -> Self {
        match error {
            StepUpError::RevocationsUnavailable => DatabaseError::Unavailable(error.to_string()).into(),
            refused => Self::BadToken(refused),
        }
    }
}

impl From<DatabaseError> for FactorError {
    fn from(error: DatabaseError) -> Self {
        Self::Unavailable(error.into())
    }
}
