//! Step-up tokens: for a short while, a second factor need not be shown again.
//!
//! They are signed with a key of their own, which no access token is, and name an audience of their own, which
//! `claims.rs` refuses in access tokens: neither is ever taken for the other. They stand for one enrolment, and end with
//! it; they can be revoked like access tokens.

use std::fmt;

use chrono::{DateTime, TimeDelta};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header};
use serde_json::{Value, json};
use uuid::Uuid;

use super::StepUpError;
use crate::{
    auth::{
        AuthError,
        claims::time_claim,
        revocation::{RevocationList, TokenMarks},
        token::{LONGEST_TOKEN_BYTES, UnverifiedToken},
    },
    config::AuthConfig,
    model::Timestamp,
    secrets::{MasterKey, ShownOnce},
};

/// Whom step-up tokens are meant for.
pub(in crate::auth) const STEP_UP_AUDIENCE: &str = "tidegate:step-up";

/// A new step-up token.
pub struct StepUpToken {
    /// What its subject shows.
    pub text: ShownOnce,
    /// When it ends.
    pub expires_at: Timestamp,
}

/// Issues step-up tokens and checks them. All nodes with the same master key believe each other's.
pub(in crate::auth) struct StepUp {
    signs: EncodingKey,
    checks: DecodingKey,
    lifetime: TimeDelta,
    revocations: RevocationList,
}

/// Which enrolment of a second factor counts: a token of another one does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::auth) struct EnrolledAt(pub(in crate::auth) Timestamp);

impl EnrolledAt {
    /// Both databases keep microseconds.
    fn claim(self) -> i64 {
        self.0.timestamp_micros()
    }
}

impl StepUp {
    /// Signs with a key of `master`'s, for as long as `config` says.
    #[must_use]
    pub(in crate::auth) fn new(config: &AuthConfig, master: &MasterKey, revocations: RevocationList) -> Self {
        let key = master.derive("auth/step-up");
        let seconds = i64::try_from(config.step_up_seconds).unwrap_or(i64::MAX);
        Self {
            signs: EncodingKey::from_secret(key.expose()),
            checks: DecodingKey::from_secret(key.expose()),
            lifetime: TimeDelta::try_seconds(seconds).unwrap_or(TimeDelta::MAX),
            revocations,
        }
    }

    /// A token for a subject that has shown its second factor.
    ///
    /// # Panics
    /// Never: HMAC takes a key of any length, and the claims are texts and whole numbers.
    #[must_use]
    pub(in crate::auth) fn issue(&self, subject: &str, enrolled: EnrolledAt, now: Timestamp) -> StepUpToken {
        let end = now.checked_add_signed(self.lifetime).unwrap_or(Timestamp::MAX_UTC).timestamp();
        let claims = json!({ "aud": STEP_UP_AUDIENCE, "sub": subject, "iat": now.timestamp(), "exp": end,
            "enrolled": enrolled.claim(), "jti": Uuid::now_v7() });
        let text = jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &self.signs);
        StepUpToken {
            text: text.expect("HMAC signs any JSON object").into(),
            expires_at: DateTime::from_timestamp(end, 0).unwrap_or(now),
        }
    }

    /// Whether `subject` has of late shown the second factor that it enrolled then. No clock skew is allowed for: these are
    /// our own clocks.
    pub(in crate::auth) fn check(
        &self,
        token: &str,
        subject: &str,
        enrolled: EnrolledAt,
        now: Timestamp,
    ) -> Result<(), StepUpError> {
        if token.len() > LONGEST_TOKEN_BYTES {
            return Err(StepUpError::Malformed);
        }
        let token = UnverifiedToken::read(token).map_err(|_| StepUpError::Malformed)?;
        if token.algorithm != Algorithm::HS256 {
            return Err(StepUpError::BadSignature);
        }
        let claims = token.verify(&self.checks, Algorithm::HS256).map_err(|error| match error {
            AuthError::BadSignature => StepUpError::BadSignature,
            _ => StepUpError::Malformed,
        })?;
        let text = |claim| claims.get(claim).and_then(Value::as_str);
        if text("aud") != Some(STEP_UP_AUDIENCE) {
            return Err(StepUpError::WrongAudience);
        }
        if text("sub") != Some(subject) {
            return Err(StepUpError::WrongSubject);
        }
        let end = time_claim(&claims, "exp").ok().flatten().ok_or(StepUpError::Malformed)?;
        if now >= end {
            return Err(StepUpError::Expired);
        }
        if claims.get("enrolled").and_then(Value::as_i64) != Some(enrolled.claim()) {
            return Err(StepUpError::FactorGone);
        }
        let marks = TokenMarks::new(&token, &claims).map_err(|_| StepUpError::Malformed)?;
        self.revocations.check(&marks, subject).map_err(|error| match error {
            AuthError::Revoked => StepUpError::Revoked,
            _ => StepUpError::RevocationsUnavailable,
        })
    }
}

impl fmt::Debug for StepUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StepUp").field("lifetime", &self.lifetime).finish_non_exhaustive()
    }
}
