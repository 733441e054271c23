//! What somebody wishes to revoke, and what is wrong with the wish.

use chrono::{SubsecRound, TimeDelta};
use data_encoding::HEXLOWER;
use serde_json::Value;

use super::{
    mark::{self, Mark},
    store::{RevokedSubject, RevokedToken},
};
use crate::{
    auth::{
        ApiKey,
        claims::time_claim,
        token::{LONGEST_TOKEN_BYTES, UnverifiedToken},
    },
    model::{FieldError, Timestamp, is_subject},
};

const LONGEST_JTI_BYTES: usize = 1_024;
/// A token that ends later is revoked for this long, which is for good. Later moments make no sense to databases.
const LONGEST: TimeDelta = TimeDelta::days(36_525);

/// By what a token is named. It never prints.
pub enum TokenName {
    /// Its `jti`.
    Jti(String),
    /// The whole of it.
    Text(String),
}

/// What a name tells of its token.
struct Told {
    mark: Mark,
    expires_at: Option<Timestamp>,
    subject: Option<String>,
}

impl TokenName {
    /// The token that is meant. Nobody checks whether it was good, as one need not know why it is to count no more.
    pub(super) fn revoked(
        &self,
        expires_at: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<RevokedToken, Vec<FieldError>> {
        let wrong = |field: &str, message: &str| FieldError::new(&["input", field], message);
        let (told, mut problems) = match self.read() {
            Ok(told) => (Some(told), Vec::new()),
            Err((field, message)) => (None, vec![wrong(field, message)]),
        };
        // Should both be known, the entry must outlive the token.
        let end = told.as_ref().and_then(|told| told.expires_at).max(expires_at);
        match end {
            Some(end) if end <= now => {
                problems.push(wrong("expiresAt", "is over: the token counts no more as it is"));
            }
            None if told.is_some() => problems.push(wrong("expiresAt", "must say when the token ends")),
            _ => {}
        }
        match (told, end) {
            (Some(Told { mark, subject, .. }), Some(end)) if problems.is_empty() => {
                let expires_at = end.min(now.checked_add_signed(LONGEST).unwrap_or(end)).trunc_subsecs(6);
                Ok(RevokedToken { mark, subject, expires_at })
            }
            _ => Err(problems),
        }
    }

    /// How the audit log names the token, of which it says nothing.
    pub(super) fn resource(&self, token: &RevokedToken) -> String {
        match self {
            Self::Jti(jti) => format!("jti:{jti}"),
            Self::Text(_) => format!("token:{}", HEXLOWER.encode(&token.mark[..8])),
        }
    }

    fn read(&self) -> Result<Told, (&'static str, &'static str)> {
        match self {
            Self::Jti(jti) if jti.is_empty() || jti.len() > LONGEST_JTI_BYTES || jti.contains('\0') => {
                Err(("jti", "must have 1 to 1024 bytes, and no NUL"))
            }
            Self::Jti(jti) => Ok(Told { mark: mark::of_jti(jti), expires_at: None, subject: None }),
            Self::Text(text) if ApiKey::is_meant(text) => Err(("token", "is an API key, which is revoked by its id")),
            Self::Text(text) => read(text).ok_or(("token", "is not a signed JWT")),
        }
    }
}

/// A token as it tells of itself.
fn read(text: &str) -> Option<Told> {
    if text.len() > LONGEST_TOKEN_BYTES {
        return None;
    }
    let token = UnverifiedToken::read(text).ok()?;
    let claims = token.unverified_claims().ok()?;
    let subject = claims.get("sub").and_then(Value::as_str).filter(|subject| is_subject(subject));
    Some(Told {
        mark: mark::of_signed(token.signed),
        expires_at: time_claim(&claims, "exp").ok()?,
        subject: subject.map(str::to_owned),
    })
}

/// The subject that is meant. A moment may be as far ahead as the issuer's clock.
pub(super) fn revoked_subject(
    subject: &str,
    issued_before: Timestamp,
    skew: TimeDelta,
    now: Timestamp,
) -> Result<RevokedSubject, Vec<FieldError>> {
    let is_past = issued_before <= now.checked_add_signed(skew).unwrap_or(now);
    let problems: Vec<FieldError> = [
        (is_subject(subject), "subject", "must have 1 to 256 characters, and no NUL"),
        (is_past, "issuedBefore", "must not be in the future"),
    ]
    .into_iter()
    .filter(|(is_good, ..)| !is_good)
    .map(|(_, field, message)| FieldError::new(&["input", field], message))
    .collect();
    if problems.is_empty() {
        Ok(RevokedSubject { subject: subject.to_owned(), issued_before: issued_before.trunc_subsecs(6) })
    } else {
        Err(problems)
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::{auth::dev, config::AuthConfig, model::Role};

    const MINUTE: TimeDelta = TimeDelta::minutes(1);

    fn now() -> Timestamp {
        DateTime::from_timestamp(1_800_000_000, 0).unwrap()
    }

    fn token(seconds: u64) -> String {
        dev::mint(&AuthConfig::defaults(), "alice", Role::User, std::time::Duration::from_secs(seconds), now())
    }

    fn problems(name: &TokenName, expires_at: Option<Timestamp>) -> Vec<String> {
        let problems = name.revoked(expires_at, now()).err().unwrap_or_default();
        problems.into_iter().map(|problem| problem.path.join(".")).collect()
    }

    #[test]
    fn a_token_says_itself_when_it_ends() {
        let text = TokenName::Text(token(60));
        assert_eq!(text.revoked(None, now()).unwrap().expires_at, now() + MINUTE);
        assert_eq!(text.revoked(Some(now()), now()).unwrap().expires_at, now() + MINUTE, "never before its end");
        let jti = TokenName::Jti("one".into());
        assert_eq!(jti.revoked(Some(now() + MINUTE), now()).unwrap().expires_at, now() + MINUTE);
        let for_ever = jti.revoked(Some(Timestamp::MAX_UTC), now()).unwrap();
        assert_eq!(for_ever.expires_at, now() + LONGEST);
        assert_eq!(text.revoked(None, now()).unwrap().subject.as_deref(), Some("alice"));
    }

    #[test]
    fn a_signature_that_was_rewritten_is_of_the_same_token() {
        let text = token(60);
        let other = text.rsplit_once('.').unwrap().0.to_owned() + ".AAAA";
        let mark = |text: String| TokenName::Text(text).revoked(None, now()).unwrap().mark;
        assert_eq!(mark(text), mark(other));
        assert_ne!(mark(token(60)), mark(token(61)));
    }

    #[test]
    fn everything_that_is_wrong_is_said_at_once() {
        let key = ApiKey::generate().into_text().into_text();
        for (name, expires_at, expected) in [
            (TokenName::Jti("one".into()), None, vec!["input.expiresAt"]),
            (TokenName::Jti(String::new()), Some(now()), vec!["input.jti", "input.expiresAt"]),
            (TokenName::Jti("a\0b".into()), Some(now() + MINUTE), vec!["input.jti"]),
            (TokenName::Jti("x".repeat(1_025)), Some(now() + MINUTE), vec!["input.jti"]),
            (TokenName::Text(key), None, vec!["input.token"]),
            (TokenName::Text("a.b.c".into()), None, vec!["input.token"]),
            (TokenName::Text("x".repeat(10_000)), Some(now()), vec!["input.token", "input.expiresAt"]),
            (TokenName::Text(token(0)), None, vec!["input.expiresAt"]),
        ] {
            assert_eq!(problems(&name, expires_at), expected);
        }
    }

    #[test]
    fn a_cut_off_is_not_ahead_of_any_clock() {
        let of = |subject: &str, before| revoked_subject(subject, before, MINUTE, now());
        assert!(of("alice", now()).is_ok() && of("alice", now() + MINUTE).is_ok());
        assert_eq!(of("", now() + MINUTE + MINUTE).unwrap_err().len(), 2);
        assert_eq!(of("a\0b", now()).unwrap_err().len(), 1);
    }
}
