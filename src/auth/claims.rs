//! What a verified token says, checked against our clock and our expectations.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, TimeDelta};
use serde_json::{Map, Value};

use super::{AuthError, factor::STEP_UP_AUDIENCE};
use crate::{
    config::AuthConfig,
    model::{Principal, Role, Timestamp, is_subject},
};

/// What tokens must say.
#[derive(Debug)]
pub(super) struct Expectations {
    issuer: Option<String>,
    audience: Option<String>,
    role_claim: String,
    skew: TimeDelta,
}

impl Expectations {
    pub(super) fn new(config: &AuthConfig) -> Self {
        let skew = Duration::from_secs(config.clock_skew_seconds);
        Self {
            issuer: config.issuer.clone(),
            audience: config.audience.clone(),
            role_claim: config.role_claim.clone(),
            skew: TimeDelta::from_std(skew).unwrap_or(TimeDelta::MAX),
        }
    }

    /// The principal that the claims of a verified token describe.
    ///
    /// It ends when this server would refuse the token: at `exp` plus the allowed skew. With `exp` alone, a token
    /// accepted within the skew would end its subscriptions the moment they begin.
    pub(super) fn principal(&self, claims: &Map<String, Value>, now: Timestamp) -> Result<Principal, AuthError> {
        let expires_at = time_claim(claims, "exp")?.ok_or(AuthError::NoExpiry)?;
        let expires_at = expires_at.checked_add_signed(self.skew).unwrap_or(Timestamp::MAX_UTC);
        if now >= expires_at {
            return Err(AuthError::Expired);
        }
        let latest_start = now.checked_add_signed(self.skew).unwrap_or(Timestamp::MAX_UTC);
        for claim in ["nbf", "iat"] {
            if time_claim(claims, claim)?.is_some_and(|start| start > latest_start) {
                return Err(AuthError::NotYetValid);
            }
        }
        if self.issuer.is_some() && claims.get("iss").and_then(Value::as_str) != self.issuer.as_deref() {
            return Err(AuthError::WrongIssuer);
        }
        // A token made for one purpose is never good for another, whoever signed it.
        if texts(claims.get("aud")).any(|audience| audience == STEP_UP_AUDIENCE) {
            return Err(AuthError::WrongAudience);
        }
        if let Some(audience) = &self.audience
            && !texts(claims.get("aud")).any(|text| text == audience)
        {
            return Err(AuthError::WrongAudience);
        }
        Ok(Principal { subject: subject(claims)?, role: self.role(claims), expires_at: Some(expires_at) })
    }

    /// The highest role named. Other systems put their own roles into the same claim, so unknown ones are not ours to
    /// complain about; whoever holds a good token without any role of ours is a user.
    fn role(&self, claims: &Map<String, Value>) -> Role {
        texts(claims.get(&self.role_claim)).filter_map(|text| text.parse().ok()).max().unwrap_or(Role::User)
    }
}

fn subject(claims: &Map<String, Value>) -> Result<Arc<str>, AuthError> {
    let subject = claims.get("sub").and_then(Value::as_str).ok_or(AuthError::BadSubject)?;
    if is_subject(subject) { Ok(subject.into()) } else { Err(AuthError::BadSubject) }
}

/// A claim that is a text or a list of texts, as `aud` and roles are.
fn texts(claim: Option<&Value>) -> impl Iterator<Item = &str> {
    let values = match claim {
        Some(Value::Array(values)) => values.as_slice(),
        Some(value) => std::slice::from_ref(value),
        None => &[],
    };
    values.iter().filter_map(Value::as_str)
}

/// A `NumericDate`: seconds since 1970, which may have a fraction (RFC 7519, 2). Fractions are cut off.
pub(super) fn time_claim(claims: &Map<String, Value>, name: &str) -> Result<Option<Timestamp>, AuthError> {
    let Some(value) = claims.get(name) else { return Ok(None) };
    #[expect(clippy::cast_possible_truncation, reason = "the cast saturates, and the range check below refuses that")]
    let seconds = value.as_i64().or_else(|| value.as_f64().map(|seconds| seconds as i64));
    let time = seconds.and_then(|seconds| DateTime::from_timestamp(seconds, 0));
    time.map(Some).ok_or(AuthError::Malformed)
}
