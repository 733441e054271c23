//! The list of revoked tokens as this node knows it. Every request is held against it.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
};

use chrono::TimeDelta;
use metrics::gauge;
use parking_lot::RwLock;

use super::{
    mark::{Mark, TokenMarks},
    store::{RevokedSubject, RevokedToken},
};
use crate::{auth::AuthError, model::Timestamp};

/// Entries stay this long after their tokens' end, as other clocks may be behind and some skew is allowed.
pub(super) const KEPT_AFTER_END: TimeDelta = TimeDelta::days(1);

/// What this node knows. It only grows, until tokens would have ended: a node that was told once does not forget because
/// the database is away, or was put back to what it was before.
#[derive(Debug, Clone)]
pub(in crate::auth) struct RevocationList(Arc<RwLock<Known>>);

#[derive(Debug, Default)]
struct Known {
    /// Whether the table was ever read.
    is_read: bool,
    /// With the tokens' ends.
    tokens: HashMap<Mark, Timestamp>,
    /// With the moments before which tokens were issued that count no more.
    subjects: HashMap<Arc<str>, Timestamp>,
}

impl RevocationList {
    /// Without a database nothing is revoked.
    pub(in crate::auth) fn empty() -> Self {
        Self(Arc::new(RwLock::new(Known { is_read: true, ..Known::default() })))
    }

    /// Before the table was read nobody can say whether a token counts.
    pub(super) fn unread() -> Self {
        Self(Arc::default())
    }

    /// Refuses a good token that was revoked.
    pub(in crate::auth) fn check(&self, marks: &TokenMarks, subject: &str) -> Result<(), AuthError> {
        let known = self.0.read();
        if !known.is_read {
            return Err(AuthError::RevocationsUnavailable);
        }
        let by_itself = known.tokens.contains_key(&marks.signed)
            || marks.jti.as_ref().is_some_and(|jti| known.tokens.contains_key(jti));
        // Nobody knows when a token without `iat` was issued: it may have been before.
        let by_subject =
            known.subjects.get(subject).is_some_and(|before| marks.issued_at.is_none_or(|issued| issued < *before));
        if by_itself || by_subject { Err(AuthError::Revoked) } else { Ok(()) }
    }

    /// Takes in what was revoked.
    pub(super) fn learn(&self, tokens: &[RevokedToken], subjects: &[RevokedSubject]) {
        let mut known = self.0.write();
        for RevokedToken { mark, expires_at, .. } in tokens {
            later(known.tokens.entry(*mark), *expires_at);
        }
        for RevokedSubject { subject, issued_before } in subjects {
            later(known.subjects.entry(subject.as_str().into()), *issued_before);
        }
        known.tell();
    }

    /// All of the table was read.
    pub(super) fn read_through(&self, now: Timestamp) {
        let mut known = self.0.write();
        known.is_read = true;
        known.tokens.retain(|_, end| now < *end + KEPT_AFTER_END);
        known.tell();
    }
}

impl Known {
    #[expect(clippy::cast_precision_loss, reason = "there are far fewer than a float can count")]
    fn tell(&self) {
        gauge!("tidegate_auth_revocations", "of" => "token").set(self.tokens.len() as f64);
        gauge!("tidegate_auth_revocations", "of" => "subject").set(self.subjects.len() as f64);
    }
}

fn later<K>(entry: Entry<'_, K, Timestamp>, moment: Timestamp) {
    entry.and_modify(|known| *known = moment.max(*known)).or_insert(moment);
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn marks(signed: u8, jti: Option<u8>, issued_at: Option<i64>) -> TokenMarks {
        let issued_at = issued_at.map(|seconds| NOW + TimeDelta::seconds(seconds));
        TokenMarks { signed: [signed; 32], jti: jti.map(|jti| [jti; 32]), issued_at }
    }

    fn token(mark: u8) -> RevokedToken {
        RevokedToken { mark: [mark; 32], subject: None, expires_at: NOW }
    }

    fn subject(subject: &str, seconds: i64) -> RevokedSubject {
        RevokedSubject { subject: subject.into(), issued_before: NOW + TimeDelta::seconds(seconds) }
    }

    #[test]
    fn a_token_is_known_by_its_text_or_its_jti() {
        let list = RevocationList::empty();
        list.learn(&[token(1)], &[]);
        for (marks, revoked) in [
            (marks(1, None, None), true),
            (marks(2, Some(1), None), true),
            (marks(2, Some(3), None), false),
            (marks(2, None, None), false),
        ] {
            assert_eq!(list.check(&marks, "alice").is_err(), revoked, "{marks:?}");
        }
    }

    #[test]
    fn a_subject_s_cut_off_only_moves_on() {
        let list = RevocationList::empty();
        list.learn(&[], &[subject("alice", 10)]);
        list.learn(&[], &[subject("alice", 5)]);
        for (issued_at, name, revoked) in [
            (Some(9), "alice", true),
            (Some(10), "alice", false),
            (None, "alice", true),
            (Some(9), "bob", false),
            (None, "bob", false),
        ] {
            assert_eq!(list.check(&marks(1, None, issued_at), name).is_err(), revoked, "{issued_at:?} {name}");
        }
    }

    #[test]
    fn before_the_table_was_read_no_token_counts() {
        let list = RevocationList::unread();
        let check = || list.check(&marks(1, None, None), "alice");
        assert_eq!(check(), Err(AuthError::RevocationsUnavailable));
        list.learn(&[token(1)], &[]);
        assert_eq!(check(), Err(AuthError::RevocationsUnavailable));
        list.read_through(NOW);
        assert_eq!(check(), Err(AuthError::Revoked));
    }

    #[test]
    fn an_entry_ends_with_its_token() {
        let list = RevocationList::empty();
        list.learn(&[token(1)], &[subject("alice", 10)]);
        list.read_through(NOW + KEPT_AFTER_END - TimeDelta::seconds(1));
        assert_eq!(list.0.read().tokens.len(), 1);
        list.read_through(NOW + KEPT_AFTER_END);
        let known = list.0.read();
        assert_eq!((known.tokens.len(), known.subjects.len()), (0, 1));
    }
}
