//! What is known of an operation before it runs, computed once per distinct document and kept.
//!
//! The order is the defence: bytes, tokens and nesting on the bare text; then parsing; then sizes with fragments
//! spread out, found in linear time; only then the library's validation, whose walkers spread fragments one by one,
//! and two rules that the library has and does not keep (`positions`, `merging`).
//! A plan holds nothing of any user, so a cached one is as good as a fresh one; variables are checked per request.

mod cache_policy;
mod conditions;
mod index;
mod limits;
mod measure;
mod merging;
mod positions;
mod scan;
mod validate;
mod variables;
mod walk;

use std::{collections::HashMap, sync::Arc};

use async_graphql::{
    Name, Pos, Positioned, ServerError, Variables,
    parser::{
        parse_query,
        types::{
            DocumentOperations, ExecutableDocument, FragmentDefinition, OperationDefinition, OperationType, Selection,
            SelectionSet,
        },
    },
};
use async_graphql_value::ConstValue;
use moka::sync::Cache;
use serde_json::{Map, Value as Json};
use sha2::{Digest, Sha256};

pub use self::index::SchemaError;
pub(crate) use self::{
    cache_policy::CachePolicy,
    index::SchemaIndex,
    limits::PlanLimits,
    scan::DocumentHash,
    validate::{StopAfterValidation, Validator},
    walk::Demand,
};
use self::{measure::MeasureError, scan::ScanError};
use super::{ErrorCode, error::Refusal};

/// An operation, ready to be admitted and executed any number of times.
pub(crate) struct Plan {
    /// The same for all documents that differ only in layout.
    pub(crate) document_hash: DocumentHash,
    pub(crate) operation_name: Option<Name>,
    pub(crate) kind: OperationType,
    /// Only the chosen operation, and only the fragments that it reaches.
    document: ExecutableDocument,
    pub(crate) demands: Vec<Demand>,
    /// The refusal that admission gives, in its turn, when the operation is too deep or too costly.
    pub(crate) excess: Option<Refusal>,
    /// The static part of the cache policy.
    pub(crate) cache: CachePolicy,
    /// The variables that must not be null although their types allow it.
    needed: Vec<Name>,
    index: Arc<SchemaIndex>,
}

impl Plan {
    /// Checks and coerces the variables of one request.
    pub(crate) fn variables(&self, given: Map<String, Json>) -> Result<Variables, Refusal> {
        let variables = variables::coerce(&self.index, &self.operation().variable_definitions, given);
        let variables = variables.map_err(|errors| {
            let errors = errors.into_iter().map(|error| ServerError::new(error.message, Some(error.at)));
            Refusal::many(ErrorCode::BadUserInput, errors.collect())
        })?;
        match self.needed.iter().find(|name| variables.get(*name) == Some(&ConstValue::Null)) {
            None => Ok(variables),
            Some(name) => {
                let message = format!("Variable \"${name}\" must not be null where a value is required.");
                Err(Refusal::new(ErrorCode::BadUserInput, message))
            }
        }
    }

    /// What executes: the document without what the variables leave out, which is what was admitted.
    pub(crate) fn executable(&self, variables: &Variables) -> ExecutableDocument {
        let mut document = self.document.clone();
        conditions::apply(&mut document, variables);
        document
    }

    /// Coerced variables in one spelling.
    pub(crate) fn canonical(&self, variables: &Variables) -> String {
        variables::canonical(&self.operation().variable_definitions, variables)
    }

    /// The operation as it was written, and where in the document.
    pub(crate) fn definition(&self) -> &Positioned<OperationDefinition> {
        let (_, operation) = self.document.operations.iter().next().expect("a plan keeps exactly one operation");
        operation
    }

    fn operation(&self) -> &OperationDefinition {
        &self.definition().node
    }
}

/// Makes plans and keeps them.
#[derive(Clone)]
pub(crate) struct Plans {
    index: Arc<SchemaIndex>,
    validator: Validator,
    limits: Arc<PlanLimits>,
    /// Refusals are kept too: asking again for what is wrong must not cost more than the first time.
    known: Cache<[u8; 32], Result<Arc<Plan>, Arc<Refusal>>>,
}

impl Plans {
    pub(crate) fn new(index: Arc<SchemaIndex>, validator: Validator, limits: PlanLimits, memory: u64) -> Self {
        let known = Cache::builder().max_capacity(memory).weigher(|_, entry| weight(entry)).build();
        Self { index, validator, limits: Arc::new(limits), known }
    }

    /// The plan of a document's operation.
    pub(crate) async fn plan(&self, text: &str, operation_name: Option<&str>) -> Result<Arc<Plan>, Arc<Refusal>> {
        if text.len() > self.limits.max_bytes {
            // Not even hashed.
            return Err(Arc::new(too_big(&ScanError::Bytes { limit: self.limits.max_bytes })));
        }
        let key = key(text, operation_name);
        if let Some(known) = self.known.get(&key) {
            return known;
        }
        let made = self.make(text, operation_name).await.map(Arc::new).map_err(Arc::new);
        self.known.insert(key, made.clone());
        made
    }

    async fn make(&self, text: &str, operation_name: Option<&str>) -> Result<Plan, Refusal> {
        let document_hash = scan::scan(text, &self.limits).map_err(|error| too_big(&error))?;
        let document = parse_query(text).map_err(|error| syntax(&error))?;
        measure::measure(&document, &self.limits).map_err(|error| too_large(&error))?;
        self.validator.validate(&document).await?;
        let mut errors = positions::misplaced(&self.index, &document);
        errors.append(&mut merging::conflicts(&self.index, &document));
        if !errors.is_empty() {
            return Err(Refusal::many(ErrorCode::GraphqlValidationFailed, errors));
        }
        let (operation_name, operation) = choose(&document, operation_name)?;
        let found = walk::walk(&self.index, &document, operation);
        if found.introspection_cost > 0 && !self.limits.introspection {
            return Err(Refusal::new(ErrorCode::GraphqlValidationFailed, "introspection is turned off"));
        }
        if operation.node.ty == OperationType::Subscription && found.root_fields != 1 {
            let message = "a subscription must select exactly one root field";
            return Err(Refusal::at(ErrorCode::GraphqlValidationFailed, message, operation.pos));
        }
        Ok(Plan {
            document_hash,
            operation_name: operation_name.cloned(),
            kind: operation.node.ty,
            excess: self.excess(&found),
            demands: found.demands,
            cache: found.cache,
            needed: positions::needed(&self.index, &document, &operation.node).into_iter().collect(),
            document: pruned(&document, operation),
            index: Arc::clone(&self.index),
        })
    }

    fn excess(&self, found: &walk::Findings) -> Option<Refusal> {
        let limits = &self.limits;
        let measured = [
            ("depth", u64::from(found.depth), u64::from(limits.max_depth)),
            ("cost", found.cost, limits.max_cost),
            ("introspection cost", found.introspection_cost, limits.max_introspection_cost),
        ];
        let (what, given, limit) = measured.into_iter().find(|(_, given, limit)| given > limit)?;
        let message = format!("the operation's {what} of {given} is above the limit of {limit}");
        Some(Refusal::new(ErrorCode::OperationTooComplex, message))
    }
}

fn key(text: &str, operation_name: Option<&str>) -> [u8; 32] {
    let mut hash = Sha256::new();
    // The length says where the document ends. No byte could: verdicts on documents that are none are kept too.
    hash.update((text.len() as u64).to_le_bytes());
    hash.update(text);
    if let Some(name) = operation_name {
        hash.update([1]);
        hash.update(name);
    }
    hash.finalize().into()
}

fn weight(entry: &Result<Arc<Plan>, Arc<Refusal>>) -> u32 {
    // A parsed document takes some 40 times its fields' names; the measure of fields is what scales.
    let bytes = match entry {
        Ok(plan) => 2_048 + 512 * count(&plan.document),
        Err(refusal) => 512 + 256 * refusal.errors.len(),
    };
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

fn count(document: &ExecutableDocument) -> usize {
    fn selections(set: &SelectionSet) -> usize {
        set.items
            .iter()
            .map(|selection| match &selection.node {
                Selection::Field(field) => 1 + field.node.arguments.len() + selections(&field.node.selection_set.node),
                Selection::InlineFragment(inline) => 1 + selections(&inline.node.selection_set.node),
                Selection::FragmentSpread(_) => 1,
            })
            .sum()
    }
    let operations = document.operations.iter().map(|(_, operation)| selections(&operation.node.selection_set.node));
    let fragments = document.fragments.values().map(|fragment| selections(&fragment.node.selection_set.node));
    operations.chain(fragments).sum()
}

fn choose<'a>(
    document: &'a ExecutableDocument,
    name: Option<&str>,
) -> Result<(Option<&'a Name>, &'a Positioned<OperationDefinition>), Refusal> {
    let mut operations = document.operations.iter();
    let chosen = match name {
        Some(name) => operations.find(|(found, _)| found.is_some_and(|found| found == name)),
        None if operations.len() == 1 => operations.next(),
        None => {
            let message = "the document has several operations; operationName must choose one";
            return Err(Refusal::new(ErrorCode::BadUserInput, message));
        }
    };
    chosen.ok_or_else(|| Refusal::new(ErrorCode::BadUserInput, "the document has no operation of that name"))
}

/// The document with nothing in it that the chosen operation does not reach.
fn pruned(document: &ExecutableDocument, operation: &Positioned<OperationDefinition>) -> ExecutableDocument {
    let mut fragments = HashMap::new();
    reach(document, &operation.node.selection_set.node, &mut fragments);
    ExecutableDocument { operations: DocumentOperations::Single(operation.clone()), fragments }
}

fn reach(
    document: &ExecutableDocument,
    set: &SelectionSet,
    reached: &mut HashMap<Name, Positioned<FragmentDefinition>>,
) {
    for selection in &set.items {
        match &selection.node {
            Selection::Field(field) => reach(document, &field.node.selection_set.node, reached),
            Selection::InlineFragment(inline) => reach(document, &inline.node.selection_set.node, reached),
            Selection::FragmentSpread(spread) => {
                let name = &spread.node.fragment_name.node;
                if let Some(fragment) = document.fragments.get(name)
                    && !reached.contains_key(name)
                {
                    reached.insert(name.clone(), fragment.clone());
                    reach(document, &fragment.node.selection_set.node, reached);
                }
            }
        }
    }
}

fn too_big(error: &ScanError) -> Refusal {
    Refusal::new(ErrorCode::OperationTooComplex, error.to_string())
}

fn too_large(error: &MeasureError) -> Refusal {
    match error {
        MeasureError::Cycle { at, .. } => Refusal::at(ErrorCode::GraphqlValidationFailed, error.to_string(), *at),
        _ => Refusal::new(ErrorCode::OperationTooComplex, error.to_string()),
    }
}

/// The parser draws a picture over several lines; the last one says what it expected.
fn syntax(error: &async_graphql::parser::Error) -> Refusal {
    let text = error.to_string();
    let said = text.lines().rev().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    let said = said.trim_start_matches('=').trim();
    let at: Vec<Pos> = error.positions().take(1).collect();
    let mut wrong = ServerError::new(format!("syntax error: {said}"), None);
    wrong.locations = at;
    Refusal::many(ErrorCode::GraphqlParseFailed, vec![wrong])
}
