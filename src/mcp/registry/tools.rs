//! What is known of the tools of one server, and what it means when the server says something else. Pure.
//!
//! A tool that says something else of its effects than what was accepted waits for approval. What was accepted is remembered
//! also while the tool is gone: to take it away and bring it back changed is to change it. Not all that are gone can be
//! remembered; once some were forgotten, every new tool waits.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};

use super::definition::{Definition, MOST_BYTES, MOST_TOOLS, size};
use crate::{
    mcp::{Fingerprint, Tool, ToolAnnotations},
    model::Timestamp,
};

/// How often the tools of a server may change within [`WINDOW`]: every change is kept for ever.
const MOST_CHANGES: u32 = 60;
const WINDOW: TimeDelta = TimeDelta::hours(1);

/// A tool as it is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KnownTool {
    /// Its definition.
    pub tool: Arc<Tool>,
    /// Of what the server said.
    pub fingerprint: Fingerprint,
    /// When it became another one than it was when it was first seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed_at: Option<Timestamp>,
    /// What it was before; for one that waits, what it was when nobody had to be asked. Old ones are forgotten.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<Arc<Tool>>,
    /// Whether it waits for approval.
    pub held: bool,
    /// What it says of its effects, as far as that was accepted.
    pub(super) accepted: ToolAnnotations,
}

/// A tool that is there no more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct GoneTool {
    fingerprint: Fingerprint,
    accepted: ToolAnnotations,
    at: Timestamp,
}

/// All tools of one server.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct KnownTools {
    pub(super) known: BTreeMap<Arc<str>, KnownTool>,
    gone: BTreeMap<Arc<str>, GoneTool>,
    /// Tools have been forgotten: who is not known may be one of them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    forgetful: bool,
    /// Since when changes are counted, and how many there were.
    #[serde(default)]
    counted: Option<(Timestamp, u32)>,
}

/// The tools of a server are not what they were.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ToolsChanged {
    pub(super) added: Vec<Definition>,
    pub(super) changed: Vec<ToolChange>,
    pub(super) removed: Vec<Arc<str>>,
    pub(super) at: Timestamp,
}

/// A tool is not what it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ToolChange {
    pub(super) before: Fingerprint,
    #[serde(flatten)]
    pub(super) definition: Definition,
    pub(super) held: bool,
}

/// What came of comparing what a server offers with what was known: names of tools.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ToolNews {
    /// Those that were not there before.
    pub added: Vec<Arc<str>>,
    /// Those whose definition is another one.
    pub changed: Vec<Arc<str>>,
    /// Of the changed ones, those that wait for approval.
    pub held: Vec<Arc<str>>,
    /// Those that are there no more.
    pub removed: Vec<Arc<str>>,
}

impl ToolNews {
    /// Whether everything is as it was.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.changed.is_empty() && self.removed.is_empty()
    }
}

impl From<&ToolsChanged> for ToolNews {
    fn from(changed: &ToolsChanged) -> Self {
        let name = |definition: &Definition| Arc::clone(&definition.tool.name);
        Self {
            added: changed.added.iter().map(name).collect(),
            changed: changed.changed.iter().map(|change| name(&change.definition)).collect(),
            held: changed.changed.iter().filter(|change| change.held).map(|change| name(&change.definition)).collect(),
            removed: changed.removed.clone(),
        }
    }
}

/// Whether these are the tools that are known.
pub(super) fn is_known(known: &BTreeMap<Arc<str>, KnownTool>, offered: &[Definition]) -> bool {
    let is_same =
        |each: &Definition| known.get(&each.tool.name).is_some_and(|tool| tool.fingerprint == each.fingerprint);
    known.len() == offered.len() && offered.iter().all(is_same)
}

impl KnownTools {
    /// What has changed, where a server offers these; nothing where nothing has.
    pub(super) fn compare(&self, offered: Vec<Definition>, at: Timestamp) -> Option<ToolsChanged> {
        if is_known(&self.known, &offered) {
            return None;
        }
        let names: BTreeSet<&str> = offered.iter().map(|each| &*each.tool.name).collect();
        let removed = self.known.keys().filter(|name| !names.contains(&***name)).cloned().collect();
        let mut changes = ToolsChanged { added: Vec::new(), changed: Vec::new(), removed, at };
        for definition in offered {
            let (before, accepted, is_gone) =
                match (self.known.get(&definition.tool.name), self.gone.get(&definition.tool.name)) {
                    (Some(known), _) if known.fingerprint == definition.fingerprint => continue,
                    (Some(known), _) => (known.fingerprint.clone(), &known.accepted, false),
                    (None, Some(gone)) => (gone.fingerprint.clone(), &gone.accepted, true),
                    (None, None) if self.forgetful => {
                        // It may have been here before, and have said something else.
                        let before = definition.fingerprint.clone();
                        changes.changed.push(ToolChange { before, definition, held: true });
                        continue;
                    }
                    (None, None) => {
                        changes.added.push(definition);
                        continue;
                    }
                };
            let held = definition.tool.annotations.effects() != accepted.effects();
            if is_gone && !held && before == definition.fingerprint {
                changes.added.push(definition);
            } else {
                changes.changed.push(ToolChange { before, definition, held });
            }
        }
        Some(changes)
    }

    /// Whether a change at this time is one too many.
    pub(super) fn changes_too_often(&self, at: Timestamp) -> bool {
        self.counted.is_some_and(|(since, changes)| at - since < WINDOW && changes >= MOST_CHANGES)
    }

    pub(super) fn apply(&mut self, changes: &ToolsChanged) {
        for Definition { fingerprint, tool } in &changes.added {
            let (fingerprint, accepted) = (fingerprint.clone(), tool.annotations.clone());
            let (changed_at, previous, tool) = (None, None, Arc::clone(tool));
            self.gone.remove(&tool.name);
            self.known.insert(
                Arc::clone(&tool.name),
                KnownTool { tool, fingerprint, changed_at, previous, held: false, accepted },
            );
        }
        for change in &changes.changed {
            self.replace(change, changes.at);
        }
        for name in &changes.removed {
            if let Some(KnownTool { fingerprint, accepted, .. }) = self.known.remove(name) {
                self.gone.insert(Arc::clone(name), GoneTool { fingerprint, accepted, at: changes.at });
            }
        }
        self.counted = match self.counted {
            Some((since, count)) if changes.at - since < WINDOW => Some((since, count.saturating_add(1))),
            _ => Some((changes.at, 1)),
        };
        self.forget_the_oldest();
    }

    /// Somebody approves of what the tool says now.
    pub(super) fn approve(&mut self, name: &str) {
        if let Some(known) = self.known.get_mut(name) {
            known.held = false;
            known.accepted = known.tool.annotations.clone();
        }
    }

    fn replace(&mut self, change: &ToolChange, at: Timestamp) {
        let ToolChange { definition: Definition { fingerprint, tool }, held, .. } = change;
        let (before, gone) = (self.known.remove(&tool.name), self.gone.remove(&tool.name));
        let (previous, accepted) = match before {
            Some(before) if before.held => (before.previous, Some(before.accepted)),
            Some(before) => (Some(before.tool), Some(before.accepted)),
            None => (None, gone.map(|gone| gone.accepted)),
        };
        let accepted = if *held { accepted.unwrap_or_default() } else { tool.annotations.clone() };
        let (fingerprint, tool, held) = (fingerprint.clone(), Arc::clone(tool), *held);
        let name = Arc::clone(&tool.name);
        self.known.insert(name, KnownTool { tool, fingerprint, changed_at: Some(at), previous, held, accepted });
    }

    /// Keeps the state small, whatever servers do: definitions of the past that are needed least are forgotten.
    fn forget_the_oldest(&mut self) {
        while self.gone.len() > MOST_TOOLS {
            let oldest = self.gone.iter().min_by_key(|(_, gone)| gone.at).map(|(name, _)| Arc::clone(name));
            oldest.map(|name| self.gone.remove(&name));
            self.forgetful = true;
        }
        let mut newest_first: Vec<&mut KnownTool> = self.known.values_mut().collect();
        newest_first.sort_by_key(|known| std::cmp::Reverse(known.changed_at));
        let mut bytes = 0;
        for known in newest_first {
            bytes += known.previous.as_deref().map_or(0, size);
            if bytes > MOST_BYTES {
                known.previous = None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::mcp::registry::definition::definitions;

    fn at(minute: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + TimeDelta::minutes(minute)
    }

    fn tool(name: &str, description: &str, annotations: &serde_json::Value) -> Tool {
        let tool = json!({
            "name": name, "description": description, "inputSchema": {"type": "object"}, "annotations": annotations,
        });
        serde_json::from_value(tool).unwrap()
    }

    fn offer(known: &mut KnownTools, tools: &[Tool], minute: i64) -> ToolNews {
        let Some(changes) = known.compare(definitions(tools).unwrap(), at(minute)) else { return ToolNews::default() };
        known.apply(&changes);
        ToolNews::from(&changes)
    }

    fn news(news: &ToolNews) -> String {
        let part = |sign: &str, names: &[Arc<str>]| {
            names.iter().map(|name| format!("{sign}{name} ")).collect::<Vec<_>>().concat()
        };
        let all = [("+", &news.added), ("~", &news.changed), ("!", &news.held), ("-", &news.removed)];
        all.map(|(sign, names)| part(sign, names)).concat().trim_end().to_owned()
    }

    #[test]
    fn what_a_tool_says_of_its_effects_decides_whether_it_waits() {
        let (reads, writes) = (json!({"readOnlyHint": true}), json!({}));
        let (a, read) = ("a", |description| tool("a", description, &reads));
        let mut known = KnownTools::default();
        let steps: &[(&[Tool], &str, bool)] = &[
            (&[read("x")], "+a", false),
            (&[read("x")], "", false),
            // Other words only.
            (&[read("y")], "~a", false),
            (&[tool(a, "y", &writes)], "~a !a", true),
            // Still not what was accepted, although the last one was like this.
            (&[tool(a, "z", &writes)], "~a !a", true),
            // As it was accepted.
            (&[read("z")], "~a", false),
            (&[tool(a, "z", &writes)], "~a !a", true),
            // It neither helps to go, nor to come back as it was.
            (&[], "-a", false),
            (&[tool(a, "z", &writes)], "~a !a", true),
            (&[], "-a", false),
            (&[read("z")], "~a", false),
            (&[], "-a", false),
            (&[read("z")], "+a", false),
            (&[read("z"), tool("b", "", &writes)], "+b", false),
        ];
        for (minute, (tools, expected, held)) in (0..).zip(steps) {
            assert_eq!(news(&offer(&mut known, tools, minute)), *expected, "step {minute}");
            assert_eq!(known.known.get(a).is_some_and(|known| known.held), *held, "step {minute}");
        }
    }

    #[test]
    fn every_other_effect_waits_and_a_default_written_down_does_not() {
        for (before, after, held) in [
            (json!({"readOnlyHint": true}), json!({"readOnlyHint": false}), true),
            (json!({"destructiveHint": false}), json!({"destructiveHint": true}), true),
            (json!({"idempotentHint": true}), json!({}), true),
            (json!({"openWorldHint": false}), json!({}), true),
            (json!({}), json!({"readOnlyHint": true}), true),
            (json!({}), json!({"readOnlyHint": false, "destructiveHint": true}), false),
            (json!({}), json!({"idempotentHint": false, "openWorldHint": true}), false),
        ] {
            let mut known = KnownTools::default();
            offer(&mut known, &[tool("a", "", &before)], 0);
            let changed = offer(&mut known, &[tool("a", "", &after)], 1);
            assert_eq!((changed.changed.len(), !changed.held.is_empty()), (1, held), "{before} to {after}");
        }
    }

    #[test]
    fn what_is_approved_is_accepted_and_the_diff_is_to_what_was_accepted_before() {
        let mut known = KnownTools::default();
        for (minute, description, reads) in [(0, "one", true), (1, "two", false), (2, "three", false)] {
            offer(&mut known, &[tool("a", description, &json!({"readOnlyHint": reads}))], minute);
        }
        let waits = &known.known["a"];
        let description = |tool: &Option<Arc<Tool>>| tool.as_ref().unwrap().description.clone().unwrap();
        assert_eq!((waits.held, &*description(&waits.previous), waits.changed_at), (true, "one", Some(at(2))));
        known.approve("a");
        assert!(!known.known["a"].held);
        let next = offer(&mut known, &[tool("a", "four", &json!({}))], 3);
        assert_eq!((news(&next).as_str(), &*description(&known.known["a"].previous)), ("~a", "three"));
    }

    #[test]
    fn the_state_stays_small_and_changes_are_counted() {
        let mut known = KnownTools::default();
        // Sixteen times so much is as much as may be kept.
        let large = "x".repeat(250_000);
        let both = |one: &str, other: &str| -> Vec<Tool> {
            let words = |number: u32| if number < 10 { one } else { other };
            (0..20).map(|number| tool(&format!("t{number:02}"), words(number), &json!({}))).collect()
        };
        for (minute, one, other) in [(0, large.as_str(), ""), (1, "", large.as_str()), (2, "", "")] {
            offer(&mut known, &both(one, other), minute);
        }
        let kept = known.known.values().filter(|known| known.previous.is_some());
        let kept: Vec<&str> = kept.map(|known| &*known.tool.name).collect();
        assert_eq!((kept.len(), kept[0], kept[5], kept[6]), (16, "t00", "t05", "t10"));

        let changes = 3;
        assert_eq!(known.counted, Some((at(0), changes)));
        for number in changes..MOST_CHANGES {
            assert!(!known.changes_too_often(at(9)), "{number}");
            offer(&mut known, &[tool("a", &number.to_string(), &json!({}))], 9);
        }
        assert!(known.changes_too_often(at(59)) && !known.changes_too_often(at(60)));
    }

    #[test]
    fn those_that_left_first_are_forgotten_first() {
        let mut known = KnownTools::default();
        for generation in 0..3 {
            let names = (0..500).map(|number| tool(&format!("{generation}-{number}"), "", &json!({})));
            offer(&mut known, &names.collect::<Vec<_>>(), generation);
        }
        offer(&mut known, &[], 3);
        assert_eq!(known.gone.len(), MOST_TOOLS);
        assert!(known.gone.keys().all(|name| !name.starts_with("0-")));
        let found =
            offer(&mut known, &[tool("0-1", "", &json!({"destructiveHint": true})), tool("2-1", "", &json!({}))], 4);
        assert_eq!(news(&found), "+2-1 ~0-1 !0-1", "who is forgotten is nobody that is trusted");
        assert!(known.known["0-1"].held);
        known.approve("0-1");
        assert!(!known.known["0-1"].held);
    }
}
