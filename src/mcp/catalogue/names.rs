//! Qualified names: a tool's name with that of its server before it.

use std::fmt;

use crate::mcp::name_problem;

/// Between a server's name and a tool's. Names of servers have no underscore, so the first one splits without doubt; and what
/// comes out is a name that models' functions may have, too, which no dot or slash would be.
const SEPARATOR: &str = "__";

/// The name of a tool among those of all servers, such as `time__get_current_time`. A tool's own name is kept as it is, whatever
/// characters it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct QualifiedName<'a> {
    /// The server's name.
    pub server: &'a str,
    /// The tool's name in that server.
    pub tool: &'a str,
}

impl<'a> QualifiedName<'a> {
    /// Reads one; nothing where the text cannot be one.
    #[must_use]
    pub fn parse(text: &'a str) -> Option<Self> {
        let (server, tool) = text.split_once(SEPARATOR)?;
        (name_problem(server).is_none() && !tool.is_empty()).then_some(Self { server, tool })
    }
}

impl fmt::Display for QualifiedName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{SEPARATOR}{}", self.server, self.tool)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_first_separator_splits() {
        for (text, expected) in [
            ("time__now", Some(("time", "now"))),
            ("a__b__c", Some(("a", "b__c"))),
            ("a___b", Some(("a", "_b"))),
            ("my-server-2__Read File/ü", Some(("my-server-2", "Read File/ü"))),
            ("a-__b", Some(("a-", "b"))),
            ("now", None),
            ("a_b", None),
            ("a__", None),
            ("__init__", None),
            ("my_tool__x", None),
            ("Time__now", None),
            ("", None),
        ] {
            let parsed = QualifiedName::parse(text);
            assert_eq!(parsed.map(|name| (name.server, name.tool)), expected, "{text}");
            assert!(parsed.is_none_or(|name| name.to_string() == text), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_was_put_together_comes_apart_again(server in "[a-z0-9][a-z0-9-]{0,63}", tool in "[_a.-]{1,6}|\\PC{1,200}") {
            let name = QualifiedName { server: &server, tool: &tool };
            let text = name.to_string();
            prop_assert_eq!(QualifiedName::parse(&text), Some(name));
        }
    }
}
