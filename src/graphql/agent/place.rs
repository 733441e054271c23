//! Ids and cursors as callers see them: opaque, and checked when they come back.

use async_graphql::ID;
use uuid::Uuid;

use crate::{
    agent::MemoryPlace,
    graphql::paging::{decode, encode},
};

/// The id of a memory.
pub(super) fn memory_id(id: Uuid) -> ID {
    ID(format!("mem_{}", id.simple()))
}

/// The memory of an id; none for what is no such id.
pub(super) fn memory_of(id: &ID) -> Option<Uuid> {
    id.strip_prefix("mem_").filter(|id| id.len() == 32).and_then(|id| Uuid::try_parse(id).ok())
}

/// Where a memory stands among its owner's.
pub(super) fn memory_cursor(place: MemoryPlace) -> String {
    encode("memories", place.0.unsigned_abs())
}

pub(super) fn memory_place(cursor: &str) -> Option<MemoryPlace> {
    decode("memories", cursor).and_then(|number| i64::try_from(number).ok()).map(MemoryPlace)
}

/// Which change of this user's feeling.
pub(super) fn change_cursor(user_id: &str, version: u64) -> String {
    encode(&format!("emotion:{user_id}"), version)
}

pub(super) fn change_version(user_id: &str, cursor: &str) -> Option<u64> {
    decode(&format!("emotion:{user_id}"), cursor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_out_is_understood_and_nothing_else() {
        let id = Uuid::now_v7();
        assert_eq!(memory_of(&memory_id(id)), Some(id));
        for bad in ["", "mem_", "mem_1", &id.to_string(), &format!("key_{}", id.simple()), &format!("mem_{id}")] {
            assert_eq!(memory_of(&ID((*bad).to_owned())), None, "{bad}");
        }
        assert_eq!(memory_place(&memory_cursor(MemoryPlace(42))), Some(MemoryPlace(42)));
        assert_eq!(change_version("alice", &change_cursor("alice", 7)), Some(7));
        for bad in ["", "x", "AAAA", &change_cursor("bob", 7), &memory_cursor(MemoryPlace(7))] {
            assert_eq!(change_version("alice", bad), None, "{bad}");
        }
    }
}
