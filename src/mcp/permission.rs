//! Who may call which tools: one decision, for listing and for calling.

use serde::{Deserialize, Serialize};

use crate::model::{Principal, Role};

/// The most roles and subjects of one rule.
const MOST_NAMES: usize = 1_000;

/// Who may call the tools that it names. A tool that no rule names is for everybody who is signed in; of several rules that
/// name a tool the most exact one decides. An ADMIN may call every tool.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Permission {
    /// A tool's name, or the beginning of names and `*`, or `*` for all.
    pub tools: String,
    /// Whoever has one of these roles, or a higher one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<Role>,
    /// These subjects, whatever their role.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subjects: Vec<String>,
}

impl Permission {
    /// What is wrong with the rule, if anything is.
    pub(super) fn problem(&self) -> Option<String> {
        let tools = &self.tools;
        if tools.is_empty() || tools.len() > 256 || tools.strip_suffix('*').unwrap_or(tools).contains('*') {
            return Some(format!("{tools:?} must be a tool's name, or the beginning of names and one * at the end"));
        }
        let names = self.roles.len() + self.subjects.len();
        (names > MOST_NAMES).then(|| format!("the rule for {tools} names more than {MOST_NAMES} roles and subjects"))
    }

    /// How exactly it names a tool: the longer the better, and a whole name best. Nothing where it does not.
    fn fits(&self, tool: &str) -> Option<usize> {
        match self.tools.strip_suffix('*') {
            Some(beginning) => tool.starts_with(beginning).then_some(beginning.len()),
            None => (self.tools == tool).then_some(usize::MAX),
        }
    }

    fn includes(&self, role: Role, subject: Option<&str>) -> bool {
        self.roles.iter().any(|least| role >= *least)
            || subject.is_some_and(|subject| self.subjects.iter().any(|named| *named == subject))
    }
}

/// Whether somebody may call a tool of a server with these rules.
#[must_use]
pub fn may_call(rules: &[Permission], tool: &str, principal: &Principal) -> bool {
    principal.role >= Role::Admin || decide(rules, tool, principal.role, Some(&principal.subject))
}

/// Whether everybody who is signed in may call a tool of a server with these rules.
#[must_use]
pub fn everyone_may_call(rules: &[Permission], tool: &str) -> bool {
    decide(rules, tool, Role::User, None)
}

/// The first of these for a principal, the second without one.
pub(super) fn is_permitted(rules: &[Permission], tool: &str, principal: Option<&Principal>) -> bool {
    match principal {
        Some(principal) => may_call(rules, tool, principal),
        None => everyone_may_call(rules, tool),
    }
}

/// Whether somebody may know of a server with these rules and tools: there is a tool that they may call, or no rule at all.
/// Without a principal: whether everybody who is signed in may.
#[must_use]
pub fn may_see<'a>(
    rules: &[Permission],
    mut tools: impl Iterator<Item = &'a str>,
    principal: Option<&Principal>,
) -> bool {
    let is_admin = principal.is_some_and(|principal| principal.role >= Role::Admin);
    is_admin || rules.is_empty() || tools.any(|tool| is_permitted(rules, tool, principal))
}

fn decide(rules: &[Permission], tool: &str, role: Role, subject: Option<&str>) -> bool {
    let fitting = rules.iter().filter_map(|rule| Some((rule.fits(tool)?, rule)));
    let most_exact = fitting.clone().map(|(exactness, _)| exactness).max();
    // Rules that are as exact add to each other.
    match most_exact {
        None => true,
        Some(most) => fitting.filter(|(exactness, _)| *exactness == most).any(|(_, rule)| rule.includes(role, subject)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn who(subject: &str, role: Role) -> Principal {
        Principal { subject: subject.into(), role, expires_at: None }
    }

    fn rule(tools: &str, roles: &[Role], subjects: &[&str]) -> Permission {
        let subjects = subjects.iter().map(ToString::to_string).collect();
        Permission { tools: tools.to_owned(), roles: roles.to_vec(), subjects }
    }

    #[test]
    fn the_most_exact_rule_decides() {
        let rules = [
            rule("*", &[Role::Admin], &[]),
            rule("read_*", &[Role::User], &[]),
            rule("read_secret", &[], &["alice"]),
            rule("read_secret", &[], &["carol"]),
        ];
        for (subject, role, tool, expected) in [
            ("alice", Role::User, "write", false),
            ("alice", Role::User, "read_file", true),
            ("alice", Role::User, "read_secret", true),
            ("carol", Role::User, "read_secret", true),
            ("bob", Role::User, "read_secret", false),
            ("bob", Role::User, "read_", true),
            ("root", Role::Admin, "read_secret", true),
        ] {
            assert_eq!(may_call(&rules, tool, &who(subject, role)), expected, "{subject} {tool}");
        }
        assert!(may_call(&[], "anything", &who("bob", Role::User)), "what no rule names is for everybody");
        for (tool, expected) in [("write", false), ("read_file", true), ("read_secret", false)] {
            assert_eq!(everyone_may_call(&rules, tool), expected, "{tool}");
        }
    }

    #[test]
    fn rules_that_name_nothing_are_refused() {
        for (tools, good) in [("*", true), ("a*", true), ("a", true), ("", false), ("a*b", false), ("**", false)] {
            assert_eq!(rule(tools, &[], &[]).problem().is_none(), good, "{tools}");
        }
    }
}
