//! How big a document is when its fragments are spread out, found without spreading them.
//!
//! Each fragment is measured once and its sizes are reused at every spread, so the work is linear in the document
//! however often fragments double each other. Nothing that walks spreads one by one may see a document before it
//! passed here: 22 doubling fragments in 737 bytes would cost such a walker many seconds.

use std::collections::HashMap;

use async_graphql::{
    Name, Pos, Positioned,
    parser::types::{ExecutableDocument, Selection, SelectionSet},
};

use super::PlanLimits;

/// Why a document is not validated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum MeasureError {
    #[error("the document spreads out to more than {limit} fields")]
    TooManyFields { limit: u64 },
    #[error("the document has more than {limit} aliases")]
    TooManyAliases { limit: u64 },
    #[error("the document has more than {limit} directives")]
    TooManyDirectives { limit: u64 },
    #[error("the operation selects more than {limit} root fields")]
    TooManyRootFields { limit: u64 },
    #[error("the document nests deeper than {limit} levels when its fragments are spread out")]
    TooDeep { limit: u64 },
    #[error("fragment \"{name}\" spreads itself")]
    Cycle { name: String, at: Pos },
}

/// Measures every operation of the document against the limits.
pub(crate) fn measure(document: &ExecutableDocument, limits: &PlanLimits) -> Result<(), MeasureError> {
    let mut ruler = Ruler { document, fragments: HashMap::new(), max_levels: limits.max_levels };
    let mut total = Size::default();
    // Fragments that no operation uses are walked by validation too.
    for (name, fragment) in &document.fragments {
        let size = ruler.fragment(name, fragment.pos, 0)?;
        total.aliases = total.aliases.max(size.aliases);
        total.fields = total.fields.max(size.fields);
    }
    for (_, operation) in document.operations.iter() {
        let size = ruler.selection_set(&operation.node.selection_set, 0)?;
        if size.top_fields > limits.max_root_fields {
            return Err(MeasureError::TooManyRootFields { limit: limits.max_root_fields });
        }
        total = total.plus(size);
        total.directives = total.directives.saturating_add(operation.node.directives.len() as u64);
    }
    if total.aliases > limits.max_aliases {
        return Err(MeasureError::TooManyAliases { limit: limits.max_aliases });
    }
    if total.fields > limits.max_fields {
        return Err(MeasureError::TooManyFields { limit: limits.max_fields });
    }
    if total.directives > limits.max_directives {
        return Err(MeasureError::TooManyDirectives { limit: limits.max_directives });
    }
    Ok(())
}

/// Saturating counts of what a selection set spreads out to.
#[derive(Debug, Clone, Copy, Default)]
struct Size {
    fields: u64,
    aliases: u64,
    directives: u64,
    top_fields: u64,
    levels: u64,
}

impl Size {
    fn plus(self, other: Self) -> Self {
        Self {
            fields: self.fields.saturating_add(other.fields),
            aliases: self.aliases.saturating_add(other.aliases),
            directives: self.directives.saturating_add(other.directives),
            top_fields: self.top_fields.saturating_add(other.top_fields),
            levels: self.levels.max(other.levels),
        }
    }
}

enum Measured {
    Open,
    Done(Size),
}

struct Ruler<'a> {
    document: &'a ExecutableDocument,
    fragments: HashMap<&'a Name, Measured>,
    max_levels: u64,
}

impl<'a> Ruler<'a> {
    fn fragment(&mut self, name: &'a Name, at: Pos, level: u64) -> Result<Size, MeasureError> {
        match self.fragments.get(name) {
            Some(Measured::Done(size)) => return Ok(*size),
            Some(Measured::Open) => return Err(MeasureError::Cycle { name: name.to_string(), at }),
            None => {}
        }
        // An unknown fragment is validation's to report.
        let Some(fragment) = self.document.fragments.get(name) else { return Ok(Size::default()) };
        self.fragments.insert(name, Measured::Open);
        let mut size = self.selection_set(&fragment.node.selection_set, level)?;
        size.directives = size.directives.saturating_add(fragment.node.directives.len() as u64);
        self.fragments.insert(name, Measured::Done(size));
        Ok(size)
    }

    /// `level` bounds this function's own recursion; `levels` of the result bounds that of the walkers to come.
    fn selection_set(&mut self, set: &'a Positioned<SelectionSet>, level: u64) -> Result<Size, MeasureError> {
        let mut total = Size::default();
        if level > self.max_levels {
            return Err(MeasureError::TooDeep { limit: self.max_levels });
        }
        let level = level + 1;
        for selection in &set.node.items {
            let mut size = match &selection.node {
                Selection::Field(field) => {
                    let below = self.selection_set(&field.node.selection_set, level)?;
                    Size {
                        fields: below.fields.saturating_add(1),
                        aliases: below.aliases.saturating_add(u64::from(field.node.alias.is_some())),
                        top_fields: 1,
                        ..below
                    }
                }
                Selection::InlineFragment(inline) => self.selection_set(&inline.node.selection_set, level)?,
                Selection::FragmentSpread(spread) => {
                    self.fragment(&spread.node.fragment_name.node, spread.node.fragment_name.pos, level)?
                }
            };
            size.directives = size.directives.saturating_add(selection.node.directives().len() as u64);
            total = total.plus(size);
        }
        if !set.node.items.is_empty() {
            total.levels = total.levels.saturating_add(1);
        }
        if total.levels > self.max_levels {
            return Err(MeasureError::TooDeep { limit: self.max_levels });
        }
        Ok(total)
    }
}

#[cfg(test)]
mod tests {
    use async_graphql::parser::parse_query;

    use super::*;

    fn measured(text: &str) -> Result<(), MeasureError> {
        let limits = PlanLimits {
            max_fields: 100,
            max_aliases: 10,
            max_directives: 5,
            max_root_fields: 8,
            max_levels: 30,
            ..PlanLimits::default()
        };
        measure(&parse_query(text).unwrap(), &limits)
    }

    fn doubling(levels: usize) -> String {
        use std::fmt::Write as _;
        let mut text = String::from("{...F0}");
        for level in 0..levels {
            write!(text, " fragment F{level} on Q{{...F{0} ...F{0}}}", level + 1).unwrap();
        }
        write!(text, " fragment F{levels} on Q{{a{{b}}}}").unwrap();
        text
    }

    #[test]
    fn sizes_are_those_of_the_spread_out_document() {
        assert_eq!(measured("{a b{c d{e}} ...F} fragment F on Q{x y}"), Ok(()));
        assert_eq!(measured(&doubling(2)), Ok(()));
        for (text, expected) in [
            (doubling(22), MeasureError::TooManyRootFields { limit: 8 }),
            (
                "{r{...A}} fragment A on Q{...B ...B} fragment B on Q{...C ...C ...C ...C ...C ...C} \
              fragment C on Q{a b c d e f g h i j}"
                    .into(),
                MeasureError::TooManyFields { limit: 100 },
            ),
            (format!("{{r{{{}}}}}", "x:a ".repeat(11)), MeasureError::TooManyAliases { limit: 10 }),
            ("{a @x @x @x @x @x @x}".into(), MeasureError::TooManyDirectives { limit: 5 }),
        ] {
            assert_eq!(measured(&text), Err(expected), "{text}");
        }
    }

    #[test]
    fn cycles_are_found_at_any_distance() {
        for text in ["{...A} fragment A on Q{...A}", "{a} fragment A on Q{b{...B}} fragment B on Q{c{...A}}"] {
            assert!(matches!(measured(text), Err(MeasureError::Cycle { .. })), "{text}");
        }
    }

    #[test]
    fn a_thousand_doublings_are_refused_at_once() {
        assert_eq!(measured(&doubling(1_000)), Err(MeasureError::TooDeep { limit: 30 }));
    }
}
