//! Checks of what a tool is sent, and of what it answers, against its schemas.

use jsonschema::{PatternOptions, ValidationError, Validator, error::ValidationErrorKind};
use serde_json::{Map, Value};

use super::{
    extent::{Extent, fits_bytes},
    graph::Graph,
    near::near,
    problem::SchemaProblem,
    visits::visits,
};
use crate::model::FieldError;

/// The largest schema, in bytes of JSON, and the deepest.
const LARGEST_SCHEMA: usize = 256 * 1_024;
const DEEPEST_SCHEMA: usize = 64;
/// The most patterns of a schema, the largest one when it is compiled, and the memory that each may use to match.
const MOST_PATTERNS: usize = 100;
const LARGEST_PATTERN: usize = 256 * 1_024;
const LARGEST_MATCHER: usize = 512 * 1_024;
/// How often a pattern that looks around may go back before it is given up.
const MOST_STEPS_BACK: usize = 2_000;
/// The largest values that are checked.
const LARGEST_VALUE: Extent = Extent { values: 100_000, depth: 64 };
/// The most checks of parts of a value that are made, and the most after which it is said what is wrong where: to say so is to
/// make all checks, also those that can be left out to know that something is wrong.
const MOST_VISITS: u64 = 5_000_000;
const MOST_VISITS_FOR_DETAILS: u64 = 200_000;
/// The most problems that are told, and the longest text of one.
const MOST_PROBLEMS: usize = 20;
const LONGEST_MESSAGE: usize = 200;
/// The way to the arguments in the input of a call.
const ARGUMENTS: [&str; 2] = ["input", "arguments"];

/// A schema that is ready to check values.
///
/// Draft 2020-12, unless it names another one. Nothing that it refers to is fetched. `format` is taken as the remark that the
/// newest draft says it is: what a server accepts as a date is the server's matter.
#[derive(Debug)]
pub(crate) struct CompiledSchema {
    validator: Validator,
    graph: Graph,
    looks_around: bool,
    cost: u32,
}

impl CompiledSchema {
    /// Of a schema as a server sent it.
    pub(crate) fn compile(schema: &Value) -> Result<Self, SchemaProblem> {
        if !schema.is_object() {
            return Err(SchemaProblem::NotAnObject);
        }
        // First of all, as everything else goes down into it.
        let any_number = Extent { values: usize::MAX, depth: DEEPEST_SCHEMA };
        let extent = Extent::within(schema, any_number).ok_or(SchemaProblem::TooDeep(DEEPEST_SCHEMA))?;
        if !fits_bytes(schema, LARGEST_SCHEMA) {
            return Err(SchemaProblem::TooLarge(LARGEST_SCHEMA));
        }
        let graph = Graph::of(schema)?;
        if graph.patterns > MOST_PATTERNS as u64 {
            return Err(SchemaProblem::TooManyPatterns(MOST_PATTERNS));
        }
        let (validator, looks_around) = validator(schema)?;
        let patterns = u32::try_from(graph.patterns).unwrap_or(u32::MAX).saturating_mul(64 * 1_024);
        let cost = u32::try_from(extent.values).unwrap_or(u32::MAX).saturating_mul(512).saturating_add(patterns);
        Ok(Self { validator, graph, looks_around, cost })
    }

    /// What is wrong with the arguments of a call, at most 20 problems. No arguments are none: `{}`.
    #[must_use]
    pub(crate) fn validate(&self, arguments: Option<&Value>) -> Vec<FieldError> {
        let none = Value::Object(Map::new());
        let arguments = arguments.unwrap_or(&none);
        if !arguments.is_object() {
            return vec![FieldError::new(&ARGUMENTS, "must be an object")];
        }
        self.problems(arguments)
    }

    /// What is wrong with the structured content of a result, if anything is. Content of more than 100,000 values is not gone
    /// through, which is said in the same way.
    #[must_use]
    pub(crate) fn check_output(&self, content: &Value) -> Option<String> {
        let problem = self.problems(content).into_iter().next()?;
        Some(match problem.path.get(ARGUMENTS.len()..).unwrap_or_default() {
            [] => problem.message,
            path => format!("{}: {}", path.join("."), problem.message),
        })
    }

    /// About how many bytes it takes.
    pub(super) fn cost(&self) -> u32 {
        self.cost
    }

    fn problems(&self, value: &Value) -> Vec<FieldError> {
        let Some(extent) = Extent::within(value, LARGEST_VALUE) else {
            let Extent { values, depth } = LARGEST_VALUE;
            return vec![FieldError::new(
                &ARGUMENTS,
                format!("more than {values} values, or deeper than {depth} levels"),
            )];
        };
        let visits = visits(&self.graph, value, extent, self.looks_around).filter(|visits| *visits <= MOST_VISITS);
        let Some(visits) = visits else {
            return vec![FieldError::new(&ARGUMENTS, "too large or too deep to be checked against the tool's schema")];
        };
        if self.validator.is_valid(value) {
            return Vec::new();
        }
        if visits > MOST_VISITS_FOR_DETAILS {
            return vec![FieldError::new(&ARGUMENTS, "not what the tool's schema says; too large to say where")];
        }
        self.validator.iter_errors(value).take(MOST_PROBLEMS).map(|error| problem(&error)).collect()
    }
}

/// Linear patterns are tried first. Those that look around, as the ones that zod writes for e-mail addresses do, need the other
/// engine, which goes back a bounded number of times only, and what it costs is counted.
fn validator(schema: &Value) -> Result<(Validator, bool), SchemaProblem> {
    let options = || jsonschema::options().offline().should_validate_formats(false);
    let linear = PatternOptions::regex().size_limit(LARGEST_PATTERN).dfa_size_limit(LARGEST_MATCHER);
    let problem = match options().with_pattern_options(linear).build(schema) {
        Ok(validator) => return Ok((validator, false)),
        Err(error) => cut(format!("{}: {error}", error.instance_path()).trim_start_matches(": ")),
    };
    let backtracking = PatternOptions::fancy_regex()
        .backtrack_limit(MOST_STEPS_BACK)
        .size_limit(LARGEST_PATTERN)
        .dfa_size_limit(LARGEST_MATCHER);
    let validator = options().with_pattern_options(backtracking).build(schema);
    validator.map(|validator| (validator, true)).map_err(|_| SchemaProblem::Invalid(problem))
}

fn problem(error: &ValidationError<'_>) -> FieldError {
    let steps =
        error.instance_path().as_str().split('/').skip(1).map(|step| step.replace("~1", "/").replace("~0", "~"));
    let mut path: Vec<String> = ARGUMENTS.map(str::to_owned).into_iter().chain(steps.map(|step| cut(&step))).collect();
    let mut candidates = Vec::new();
    let message = match error.kind() {
        ValidationErrorKind::Required { property: Value::String(name) } => {
            path.push(cut(name));
            "is missing".to_owned()
        }
        ValidationErrorKind::Enum { options } => {
            let wanted = error.instance().as_str().unwrap_or_default();
            let options = options.as_array().into_iter().flatten().filter_map(Value::as_str);
            candidates = near(wanted, options.map(|option| (option, option)));
            message(error)
        }
        _ => message(error),
    };
    FieldError { path, message, candidates }
}

/// What is wrong, without the value that it is wrong with.
fn message(error: &ValidationError<'_>) -> String {
    cut(&error.masked_with("the value").to_string())
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(LONGEST_MESSAGE) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
