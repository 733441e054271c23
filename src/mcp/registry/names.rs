//! Which names servers have: one stream for all of them, so that no two servers get the same, whoever registers them where.
//! It is also the list of all servers that there are.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::events::Aggregate;

/// The one stream, and the lock of all names.
pub(super) const STREAM: &str = "mcp_names";
/// The most servers.
pub(super) const MOST: usize = 1_000;

/// The servers by their names.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Names(BTreeMap<Arc<str>, Uuid>);

/// What can happen to names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data")]
pub(super) enum NamesEvent {
    /// A server has got a name.
    McpNameTaken { name: Arc<str>, server: Uuid },
    /// Another server may have the name.
    McpNameFreed { name: Arc<str> },
}

impl Names {
    /// Which server has a name.
    pub(super) fn holder(&self, name: &str) -> Option<Uuid> {
        self.0.get(name).copied()
    }

    /// All servers.
    pub(super) fn servers(&self) -> impl Iterator<Item = Uuid> + use<'_> {
        self.0.values().copied()
    }

    /// Whether there are as many as may be.
    pub(super) fn is_full(&self) -> bool {
        self.0.len() >= MOST
    }
}

impl Aggregate for Names {
    type Event = NamesEvent;
    const TYPE: &'static str = "mcp_names";
    const SNAPSHOT_VERSION: u32 = 1;

    fn apply(&mut self, event: &NamesEvent) {
        match event {
            NamesEvent::McpNameTaken { name, server } => self.0.insert(Arc::clone(name), *server),
            NamesEvent::McpNameFreed { name } => self.0.remove(name),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_held_until_it_is_freed() {
        let (one, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let taken = |name: &str, server| NamesEvent::McpNameTaken { name: name.into(), server };
        let mut names = Names::default();
        for (event, holder, servers) in [
            (taken("a", one), Some(one), 1),
            (taken("b", other), Some(one), 2),
            (NamesEvent::McpNameFreed { name: "a".into() }, None, 1),
            (taken("a", other), Some(other), 2),
        ] {
            names.apply(&event);
            assert_eq!((names.holder("a"), names.servers().count()), (holder, servers), "{event:?}");
            let kept = serde_json::to_string(&names).unwrap();
            assert_eq!(serde_json::from_str::<Names>(&kept).unwrap(), names);
        }
        (0..MOST).for_each(|number| names.apply(&taken(&format!("s{number}"), one)));
        assert!(names.is_full());
    }
}
