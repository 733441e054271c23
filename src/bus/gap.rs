//! What is missing between a place and what comes next.

use super::{Delivered, Position};

/// Messages that are lost before the next one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Gap {
    #[default]
    None,
    /// So many; at least one.
    Of(u64),
    /// Perhaps some.
    Unknown,
}

impl Gap {
    /// From `place` to the first message that is still remembered, which comes right after the offset `before_first`.
    pub(super) fn between(place: Position, newest: Position, before_first: u64) -> Self {
        let is_known = place == Position::START || place.epoch == newest.epoch && place.offset <= newest.offset;
        if is_known { Self::of(before_first.saturating_sub(place.offset)) } else { Self::Unknown }
    }

    /// So many, or none.
    pub(super) fn of(count: u64) -> Self {
        if count > 0 { Self::Of(count) } else { Self::None }
    }

    /// From what [`Delivered::Missed`] says.
    pub(super) fn told(count: Option<u64>) -> Self {
        count.map_or(Self::Unknown, Self::of)
    }

    /// Both of them.
    pub(super) fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::None, gap) | (gap, Self::None) => gap,
            (Self::Of(count), Self::Of(other)) => Self::Of(count.saturating_add(other)),
            _ => Self::Unknown,
        }
    }

    /// What a reader is told.
    pub(super) fn notice<T>(self) -> Option<Delivered<T>> {
        match self {
            Self::None => None,
            Self::Of(count) => Some(Delivered::Missed(Some(count))),
            Self::Unknown => Some(Delivered::Missed(None)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_is_what_lies_between_a_place_and_what_is_remembered() {
        let at = |epoch, offset| Position { epoch, offset };
        for (place, newest, before_first, expected) in [
            (at(1, 9), at(1, 9), 4, Gap::None),
            (at(1, 4), at(1, 9), 4, Gap::None),
            (at(1, 3), at(1, 9), 4, Gap::Of(1)),
            (at(1, 3), at(1, 9), 9, Gap::Of(6)),
            (at(1, 9), at(1, 9), 9, Gap::None),
            (at(2, 9), at(1, 9), 4, Gap::Unknown),
            (at(1, 10), at(1, 9), 4, Gap::Unknown),
            (at(1, 5), Position::START, 0, Gap::Unknown),
            (Position::START, Position::START, 0, Gap::None),
            (Position::START, at(1, 9), 0, Gap::None),
            (Position::START, at(1, 9), 4, Gap::Of(4)),
        ] {
            assert_eq!(Gap::between(place, newest, before_first), expected, "{place:?} {newest:?} {before_first}");
        }
    }
}
