//! How the parts of a schema lead to each other.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::{problem::SchemaProblem, references::References};

/// How often one value may be checked at most, as far as that does not depend on what is in it.
const MOST_CHECKS: u64 = 2_000;
/// The longest chain of parts that all say something of the same value.
const LONGEST_CHAIN: usize = 64;
/// The most ways from one part to another: many names may each mean many parts.
const MOST_WAYS: usize = 100_000;
/// How often the parts below are gone through where it is asked what nothing else has looked at.
const TIMES_UNEVALUATED: u64 = 3;

/// One part of a schema: to which parts it leads, and with which values.
#[derive(Debug, Default)]
pub(super) struct Part {
    /// These say something of the same value.
    pub(super) same: Vec<usize>,
    /// Of fields with these names.
    pub(super) named: HashMap<Box<str>, usize>,
    /// Of any field.
    pub(super) fields: Vec<usize>,
    /// Of the items at these places.
    pub(super) places: Vec<usize>,
    /// Of any item.
    pub(super) items: Vec<usize>,
    /// Patterns that texts, or names of fields, are compared with.
    pub(super) patterns: u64,
    /// How often all of that happens.
    pub(super) times: u64,
}

/// The parts of a schema that can be reached; the first is the whole.
#[derive(Debug)]
pub(super) struct Graph {
    pub(super) parts: Vec<Part>,
    /// Whether one part can be reached in two ways.
    pub(super) is_tree: bool,
    /// Patterns in all parts.
    pub(super) patterns: u64,
}

impl Graph {
    /// Of a schema, if all that it refers to is in it and no value would be checked without end.
    pub(super) fn of(schema: &Value) -> Result<Self, SchemaProblem> {
        let references = References::of(schema);
        let mut parts: Vec<Part> = std::iter::repeat_with(Part::default).take(references.len()).collect();
        let mut reached = vec![false; parts.len()];
        let mut waiting = vec![0];
        let (mut is_tree, mut ways) = (true, 0);
        while let Some(at) = waiting.pop() {
            if std::mem::replace(&mut reached[at], true) {
                is_tree = false;
                continue;
            }
            let Some(fields) = references.fields(at) else { continue };
            let mut part = Part::of(fields, &references);
            part.same.extend(references.from(at).map_err(SchemaProblem::Elsewhere)?);
            is_tree &= part.times == 1;
            waiting.extend(part.reached());
            ways += part.reached().count();
            if ways > MOST_WAYS {
                return Err(SchemaProblem::Unfolds(MOST_CHECKS));
            }
            parts[at] = part;
        }
        let patterns = parts.iter().map(|part| part.patterns).sum();
        let graph = Self { parts, is_tree, patterns };
        graph.weigh()?;
        Ok(graph)
    }

    /// Whether one value is checked neither without end nor too often.
    fn weigh(&self) -> Result<(), SchemaProblem> {
        let mut weights = vec![Weight::Unknown; self.parts.len()];
        (0..self.parts.len()).try_for_each(|at| self.weight(at, 0, &mut weights).map(drop))
    }

    /// Checks of one value by a part, and the longest chain among them.
    fn weight(&self, at: usize, above: usize, weights: &mut [Weight]) -> Result<(u64, usize), SchemaProblem> {
        match weights[at] {
            Weight::Known(checks, chain) if above + chain <= LONGEST_CHAIN => return Ok((checks, chain)),
            Weight::Open => return Err(SchemaProblem::Endless),
            _ if above >= LONGEST_CHAIN => return Err(SchemaProblem::Unfolds(MOST_CHECKS)),
            _ => weights[at] = Weight::Open,
        }
        let part = &self.parts[at];
        let (mut checks, mut longest) = (0_u64, 0);
        for next in &part.same {
            let (more, chain) = self.weight(*next, above + 1, weights)?;
            checks = checks.saturating_add(more);
            longest = longest.max(chain);
        }
        let checks = checks.saturating_mul(part.times).saturating_add(1);
        if checks > MOST_CHECKS {
            return Err(SchemaProblem::Unfolds(MOST_CHECKS));
        }
        weights[at] = Weight::Known(checks, longest + 1);
        Ok((checks, longest + 1))
    }
}

#[derive(Debug, Clone, Copy)]
enum Weight {
    Unknown,
    /// It is being found out.
    Open,
    Known(u64, usize),
}

impl Part {
    fn of(fields: &Map<String, Value>, references: &References<'_>) -> Self {
        let mut part = Self { times: 1, ..Self::default() };
        for (keyword, value) in fields {
            let one = || references.index(value);
            let all = || value.as_array().into_iter().flatten().filter_map(|item| references.index(item));
            let named = || value.as_object().into_iter().flatten();
            let of_named = || named().filter_map(|(_, schema)| references.index(schema));
            match keyword.as_str() {
                "allOf" | "anyOf" | "oneOf" => part.same.extend(all()),
                "not" | "if" | "then" | "else" | "contentSchema" => part.same.extend(one()),
                // For draft 3, an array or one.
                "extends" => part.same.extend(all().chain(one())),
                "dependentSchemas" | "dependencies" => part.same.extend(of_named()),
                "properties" => {
                    let schemas =
                        named().filter_map(|(name, schema)| Some((name.as_str().into(), references.index(schema)?)));
                    part.named.extend(schemas);
                }
                "patternProperties" => {
                    part.fields.extend(of_named());
                    part.patterns += named().count() as u64;
                }
                "additionalProperties" | "propertyNames" => part.fields.extend(one()),
                "unevaluatedProperties" => {
                    part.fields.extend(one());
                    part.times = TIMES_UNEVALUATED;
                }
                "items" => {
                    part.places.extend(all());
                    part.items.extend(one());
                }
                "prefixItems" => part.places.extend(all()),
                "additionalItems" | "contains" => part.items.extend(one()),
                "unevaluatedItems" => {
                    part.items.extend(one());
                    part.times = TIMES_UNEVALUATED;
                }
                "pattern" => part.patterns += 1,
                _ => {}
            }
        }
        part
    }

    fn reached(&self) -> impl Iterator<Item = usize> {
        let lists = [&self.same, &self.fields, &self.places, &self.items];
        lists.into_iter().flatten().chain(self.named.values()).copied()
    }
}
