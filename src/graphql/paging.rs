//! Pages of lists: how many, after what, and where they end.

use async_graphql::SimpleObject;
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};

use super::{directives::Inherit, error::ApiError};
use crate::model::{FieldError, stable_hash};

/// Most items of a page.
const LONGEST_PAGE: i32 = 100;

/// Where a page of a list ends.
#[derive(SimpleObject)]
#[graphql(directive = Inherit::apply())]
pub(crate) struct PageInfo {
    /// Whether there are more after it.
    pub(crate) has_next_page: bool,
    /// Pass it as `after` for the next page; null on an empty page.
    pub(crate) end_cursor: Option<String>,
}

/// What `first` and `after` ask for, or everything that is wrong with them. `place` reads a cursor of the list.
pub(crate) fn asked<P>(
    first: i32,
    after: Option<&str>,
    place: impl Fn(&str) -> Option<P>,
) -> Result<(usize, Option<P>), ApiError> {
    let mut problems = Vec::new();
    if !(1..=LONGEST_PAGE).contains(&first) {
        problems.push(FieldError::new(&["first"], format!("it must be from 1 to {LONGEST_PAGE}")));
    }
    let place = after.map(|cursor| {
        let found = place(cursor);
        if found.is_none() {
            problems.push(FieldError::new(&["after"], "it is no cursor of this list"));
        }
        found
    });
    if problems.is_empty() {
        Ok((first.unsigned_abs() as usize, place.flatten()))
    } else {
        Err(ApiError::bad_input(&problems))
    }
}

/// A cursor: a number among those of a list; of another list it is none.
pub(crate) fn encode(list: &str, number: u64) -> String {
    let bytes: Vec<u8> =
        stable_hash(list.as_bytes()).to_be_bytes()[4..].iter().copied().chain(number.to_be_bytes()).collect();
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

/// The number of a cursor of this list.
pub(crate) fn decode(list: &str, cursor: &str) -> Option<u64> {
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(cursor).ok()?;
    let (of, number) = bytes.split_at_checked(4)?;
    let number = u64::from_be_bytes(number.try_into().ok()?);
    (of == &stable_hash(list.as_bytes()).to_be_bytes()[4..]).then_some(number)
}
