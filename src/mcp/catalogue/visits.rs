//! How much work it is to check a value, counted before it is done.

use std::collections::HashMap;

use serde_json::Value;

use super::{
    extent::Extent,
    graph::{Graph, Part},
};

/// The longest way down, through parts of the schema and the value together. Checking goes down recursively, so this is what
/// keeps it from the end of the stack.
const LONGEST_WAY: usize = 320;
/// The most pairs of a part and a value that are told apart while counting.
const MOST_PAIRS: usize = 500_000;
/// What a pattern that looks around costs for each byte that it is compared with, in checks.
const COST_OF_LOOKING_AROUND: u64 = 80;

/// How often parts of a schema look at values, at most: every alternative is counted as if it were tried. Nothing where that is
/// more than can be counted, or goes down further than may be.
pub(super) fn visits(graph: &Graph, value: &Value, extent: Extent, looks_around: bool) -> Option<u64> {
    if graph.is_tree && !(looks_around && graph.patterns > 0) {
        // Every part looks at every value once, if at all.
        return Some((graph.parts.len() as u64).saturating_mul(extent.values as u64));
    }
    Count { graph, looks_around, known: HashMap::new() }.of(0, value, 0).map(|(visits, _)| visits)
}

struct Count<'a> {
    graph: &'a Graph,
    looks_around: bool,
    /// Visits, and the length of the longest way down.
    known: HashMap<(usize, *const Value), (u64, usize)>,
}

impl Count<'_> {
    fn of(&mut self, at: usize, value: &Value, above: usize) -> Option<(u64, usize)> {
        let key = (at, std::ptr::from_ref(value));
        if let Some((visits, way)) = self.known.get(&key).copied() {
            return (above + way <= LONGEST_WAY).then_some((visits, way));
        }
        if above >= LONGEST_WAY || self.known.len() >= MOST_PAIRS {
            return None;
        }
        let part = &self.graph.parts[at];
        let (mut visits, mut longest) = (0_u64, 0);
        let mut below = |at: usize, value: &Value| {
            let (more, way) = self.of(at, value, above + 1)?;
            visits = visits.saturating_add(more);
            longest = longest.max(way);
            Some(())
        };
        part.same.iter().try_for_each(|next| below(*next, value))?;
        match value {
            Value::Object(fields) => {
                for (name, field) in fields {
                    part.named
                        .get(name.as_str())
                        .into_iter()
                        .chain(&part.fields)
                        .try_for_each(|at| below(*at, field))?;
                }
            }
            Value::Array(items) => {
                for (place, item) in items.iter().enumerate() {
                    part.places.get(place).into_iter().chain(&part.items).try_for_each(|at| below(*at, item))?;
                }
            }
            _ => {}
        }
        let found = (visits.saturating_mul(part.times).saturating_add(self.own_cost(part, value)), longest + 1);
        self.known.insert(key, found);
        Some(found)
    }

    /// What a part does itself with a value.
    fn own_cost(&self, part: &Part, value: &Value) -> u64 {
        if !self.looks_around {
            return 1;
        }
        // Rules for names are in parts below, which are counted as if they were for fields: all patterns may be among them.
        let (patterns, bytes) = match value {
            Value::String(text) => (part.patterns, text.len()),
            Value::Object(fields) if part.patterns > 0 || !part.fields.is_empty() => {
                (self.graph.patterns, fields.keys().map(String::len).sum())
            }
            _ => return 1,
        };
        patterns.saturating_mul(bytes as u64).saturating_mul(COST_OF_LOOKING_AROUND).saturating_add(1)
    }
}
