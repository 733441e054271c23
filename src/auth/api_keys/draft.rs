//! An API key that is wished for, and what is wrong with the wish.

use std::sync::Arc;

use chrono::TimeDelta;

use crate::model::{FieldError, Role, Timestamp, is_subject};

const LONGEST_NAME_CHARS: usize = 100;
/// Ten years, leap days included. A longer life is none that anybody has thought about.
const LONGEST_LIFE: TimeDelta = TimeDelta::days(3_653);

/// The key that somebody wishes for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKeyDraft {
    /// What people call it.
    pub name: String,
    /// Who its bearer is.
    pub subject: Arc<str>,
    /// What its bearer may do.
    pub role: Role,
    /// When it ends, if it does.
    pub expires_at: Option<Timestamp>,
}

impl ApiKeyDraft {
    /// Everything that is wrong with it.
    pub(super) fn problems(&self, now: Timestamp) -> Vec<FieldError> {
        let name_is_good = (1..=LONGEST_NAME_CHARS).contains(&self.name.chars().count())
            && !self.name.trim().is_empty()
            && !self.name.contains(char::is_control);
        let latest = now.checked_add_signed(LONGEST_LIFE).unwrap_or(Timestamp::MAX_UTC);
        let expiry_is_good = self.expires_at.is_none_or(|end| now < end && end <= latest);
        [
            (name_is_good, "name", "must have 1 to 100 characters, not only spaces, and no control characters"),
            (is_subject(&self.subject), "subject", "must have 1 to 256 characters, and no NUL"),
            (expiry_is_good, "expiresAt", "must be in the future, and at most ten years away"),
        ]
        .into_iter()
        .filter(|(is_good, ..)| !is_good)
        .map(|(_, field, message)| FieldError::new(&["input", field], message))
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn draft() -> ApiKeyDraft {
        ApiKeyDraft { name: "backup".into(), subject: "robot".into(), role: Role::User, expires_at: None }
    }

    fn fields(draft: &ApiKeyDraft) -> Vec<String> {
        draft.problems(NOW).into_iter().map(|problem| problem.path.join(".")).collect()
    }

    #[test]
    fn everything_that_is_wrong_is_said_at_once() {
        assert_eq!(fields(&draft()), [] as [&str; 0]);
        let bad = ApiKeyDraft { name: String::new(), subject: "".into(), role: Role::User, expires_at: Some(NOW) };
        assert_eq!(fields(&bad), ["input.name", "input.subject", "input.expiresAt"]);
    }

    #[test]
    fn a_name_is_for_people() {
        for (name, is_good) in [
            ("é".repeat(100), true),
            ("x".repeat(101), false),
            ("  ".to_owned(), false),
            (" a ".to_owned(), true),
            ("a\nb".to_owned(), false),
            ("a\0b".to_owned(), false),
        ] {
            assert_eq!(fields(&ApiKeyDraft { name: name.clone(), ..draft() }).is_empty(), is_good, "{name:?}");
        }
    }

    #[test]
    fn a_subject_is_one_that_a_token_can_have() {
        for (subject, is_good) in [("é".repeat(256), true), ("é".repeat(257), false), ("a\0b".to_owned(), false)] {
            let draft = ApiKeyDraft { subject: subject.as_str().into(), ..draft() };
            assert_eq!(fields(&draft).is_empty(), is_good, "{subject:?}");
        }
    }

    #[test]
    fn an_end_is_within_ten_years() {
        let day = TimeDelta::days(1);
        for (end, is_good) in [
            (NOW, false),
            (NOW + TimeDelta::milliseconds(1), true),
            (NOW + LONGEST_LIFE, true),
            (NOW + LONGEST_LIFE + day, false),
            (Timestamp::MAX_UTC, false),
            (NOW - day, false),
        ] {
            let draft = ApiKeyDraft { expires_at: Some(end), ..draft() };
            assert_eq!(fields(&draft).is_empty(), is_good, "{end}");
        }
    }
}
