//! The one error that every adapter maps into.

use std::{sync::Arc, time::Duration};

use thiserror::Error;

/// Why a call to an upstream gave no value.
///
/// `detail` is for operators: it never holds a URL's query, a header, or more than 120 characters of a body.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CallError {
    /// The upstream did not answer in time.
    #[error("the upstream did not answer in time")]
    Timeout,
    /// The upstream's breaker is open; nothing was sent.
    #[error("the upstream's breaker is open")]
    BreakerOpen {
        /// How long until the breaker may let a call through.
        retry_after: Duration,
    },
    /// The upstream, or our own pace towards it, says "slow down".
    #[error("the upstream allows no more calls for now")]
    RateLimited {
        /// How long to wait, when that is known.
        retry_after: Option<Duration>,
    },
    /// The upstream answered with an error, or could not be reached.
    #[error("the upstream failed{}: {detail}", status.map(|code| format!(" with status {code}")).unwrap_or_default())]
    Upstream {
        /// The HTTP status, or nothing when there was no answer.
        status: Option<u16>,
        /// What went wrong, for operators.
        detail: Arc<str>,
    },
    /// The upstream's answer could not be understood.
    #[error("the upstream's answer could not be read: {detail}")]
    Decode {
        /// What was wrong with the answer, for operators.
        detail: Arc<str>,
    },
    /// As many calls to the upstream as allowed are under way; nothing was sent.
    #[error("too many calls to the upstream are under way")]
    Saturated,
}

impl CallError {
    /// How long to wait before a new call makes sense, when that is known.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::BreakerOpen { retry_after } => Some(*retry_after),
            Self::RateLimited { retry_after } => *retry_after,
            Self::Timeout | Self::Upstream { .. } | Self::Decode { .. } | Self::Saturated => None,
        }
    }

    /// Whether this error says that the upstream is unwell, and so counts against its breaker.
    ///
    /// A 4xx of the caller's making does not, nor does a call that we refused ourselves.
    #[must_use]
    pub fn is_failure(&self) -> bool {
        match self {
            Self::Timeout | Self::RateLimited { .. } | Self::Decode { .. } => true,
            Self::Upstream { status, .. } => status.is_none_or(|code| !(400..500).contains(&code) || code == 408),
            Self::BreakerOpen { .. } | Self::Saturated => false,
        }
    }

    /// Whether the same call may well succeed a moment later.
    ///
    /// An answer that cannot be read is not retried: the upstream would only do the same work again.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Timeout | Self::RateLimited { .. } => true,
            Self::Upstream { status, .. } => status.is_none_or(|code| matches!(code, 408 | 500 | 502..=504)),
            Self::Decode { .. } | Self::BreakerOpen { .. } | Self::Saturated => false,
        }
    }

    /// The error's name in metrics and events.
    pub(super) fn outcome(&self) -> Outcome {
        match self {
            Self::Timeout => Outcome::Timeout,
            Self::BreakerOpen { .. } => Outcome::Rejected,
            Self::RateLimited { .. } => Outcome::RateLimited,
            Self::Saturated => Outcome::Saturated,
            Self::Upstream { .. } | Self::Decode { .. } if self.is_failure() => Outcome::Failure,
            Self::Upstream { .. } | Self::Decode { .. } => Outcome::Refused,
        }
    }
}

/// How a call ended, as metrics name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Success,
    /// The upstream is well and said no, such as a 404.
    Refused,
    Failure,
    Timeout,
    RateLimited,
    Rejected,
    Saturated,
}

impl Outcome {
    /// Every outcome, in the order of declaration: `outcome as usize` is its index.
    pub(super) const ALL: [Self; 7] = [
        Self::Success,
        Self::Refused,
        Self::Failure,
        Self::Timeout,
        Self::RateLimited,
        Self::Rejected,
        Self::Saturated,
    ];

    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Refused => "refused",
            Self::Failure => "failure",
            Self::Timeout => "timeout",
            Self::RateLimited => "rate_limited",
            Self::Rejected => "rejected",
            Self::Saturated => "saturated",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(code: u16) -> CallError {
        CallError::Upstream { status: Some(code), detail: "x".into() }
    }

    #[test]
    fn each_error_knows_whether_it_counts_and_whether_to_try_again() {
        let wait = Duration::from_secs(3);
        let unreachable = CallError::Upstream { status: None, detail: "connection refused".into() };
        for (error, failure, retryable) in [
            (CallError::Timeout, true, true),
            (CallError::RateLimited { retry_after: None }, true, true),
            (CallError::RateLimited { retry_after: Some(wait) }, true, true),
            (unreachable, true, true),
            (status(302), true, false),
            (status(400), false, false),
            (status(401), false, false),
            (status(404), false, false),
            (status(408), true, true),
            (status(422), false, false),
            (status(500), true, true),
            (status(501), true, false),
            (status(502), true, true),
            (status(503), true, true),
            (status(504), true, true),
            (CallError::Decode { detail: "x".into() }, true, false),
            (CallError::BreakerOpen { retry_after: wait }, false, false),
            (CallError::Saturated, false, false),
        ] {
            assert_eq!((error.is_failure(), error.is_retryable()), (failure, retryable), "{error:?}");
        }
    }

    #[test]
    fn only_refusals_that_know_say_when_to_come_back() {
        let wait = Duration::from_secs(3);
        assert_eq!(CallError::BreakerOpen { retry_after: wait }.retry_after(), Some(wait));
        assert_eq!(CallError::RateLimited { retry_after: Some(wait) }.retry_after(), Some(wait));
        assert_eq!(CallError::RateLimited { retry_after: None }.retry_after(), None);
        assert_eq!(CallError::Timeout.retry_after(), None);
    }

    #[test]
    fn the_message_names_the_status() {
        assert_eq!(status(503).to_string(), "the upstream failed with status 503: x");
    }
}
