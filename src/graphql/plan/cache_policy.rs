//! How long an answer may be kept: Apollo's rules for `@cacheControl`.
//!
//! A field's hint stands over its type's. A root field and a field of a composite type without any age count as 0;
//! leaf fields inherit. The smallest age wins, PRIVATE wins. What resolvers learn while they run can only lower it.

use super::index::CacheHint;

/// The policy of a whole answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct CachePolicy {
    /// Seconds; `None` until a field has said anything.
    max_age: Option<u32>,
    pub(crate) private: bool,
}

/// What bears on one field of the answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FieldPlace {
    pub(crate) hint: CacheHint,
    /// The hint of the field's type; `None` when that is a leaf.
    pub(crate) of_type: Option<CacheHint>,
    pub(crate) is_root: bool,
}

impl CachePolicy {
    /// Seconds that the answer may be kept; 0 for not at all.
    pub(crate) fn max_age(&self) -> u32 {
        self.max_age.unwrap_or(0)
    }

    /// Takes one field into account.
    pub(crate) fn add(&mut self, place: FieldPlace) {
        let of_type = place.of_type.unwrap_or_default();
        let inherit = of_type.inherit || (place.hint.inherit && of_type.max_age.is_none());
        let max_age = place.hint.max_age.or(of_type.max_age);
        let private = place.hint.private.or(of_type.private).unwrap_or(false);
        let uncached_by_default = place.is_root || (place.of_type.is_some() && !inherit);
        match max_age {
            Some(max_age) => self.restrict(max_age, private),
            None if uncached_by_default => self.restrict(0, private),
            None => self.private |= private,
        }
    }

    /// Lowers the policy.
    pub(crate) fn restrict(&mut self, max_age: u32, private: bool) {
        self.max_age = Some(self.max_age.map_or(max_age, |age| age.min(max_age)));
        self.private |= private;
    }

    /// The value of the `Cache-Control` header.
    pub(crate) fn header(&self) -> String {
        match (self.max_age(), self.private) {
            (0, _) => "no-store".into(),
            (age, true) => format!("max-age={age}, private"),
            (age, false) => format!("max-age={age}, public"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: CacheHint = CacheHint { max_age: None, private: None, inherit: false };

    fn age(max_age: u32) -> CacheHint {
        CacheHint { max_age: Some(max_age), ..NONE }
    }

    fn root(hint: CacheHint, of_type: Option<CacheHint>) -> FieldPlace {
        FieldPlace { hint, of_type, is_root: true }
    }

    fn nested(hint: CacheHint, of_type: Option<CacheHint>) -> FieldPlace {
        FieldPlace { hint, of_type, is_root: false }
    }

    #[test]
    fn apollos_rules() {
        let inherit = CacheHint { inherit: true, ..NONE };
        let private = CacheHint { private: Some(true), ..age(30) };
        for (fields, expected) in [
            (vec![], "no-store"),
            (vec![root(NONE, None)], "no-store"),
            (vec![root(age(30), None)], "max-age=30, public"),
            (vec![root(NONE, Some(age(30)))], "max-age=30, public"),
            (vec![root(age(60), Some(age(30)))], "max-age=60, public"),
            (vec![root(age(60), None), nested(NONE, None)], "max-age=60, public"),
            (vec![root(age(60), None), root(NONE, None)], "no-store"),
            (vec![root(age(60), Some(NONE)), nested(NONE, Some(NONE))], "no-store"),
            (vec![root(age(60), Some(NONE)), nested(inherit, Some(NONE))], "max-age=60, public"),
            (vec![root(age(60), Some(NONE)), nested(inherit, Some(age(5)))], "max-age=5, public"),
            (vec![root(age(60), Some(NONE)), nested(NONE, Some(inherit))], "max-age=60, public"),
            (vec![root(age(60), None), nested(age(0), None)], "no-store"),
            (vec![root(age(60), None), nested(private, None)], "max-age=30, private"),
        ] {
            let mut policy = CachePolicy::default();
            for field in &fields {
                policy.add(*field);
            }
            assert_eq!(policy.header(), expected, "{fields:?}");
        }
    }
}
