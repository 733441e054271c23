//! What can be called, by whom, under which name, and with which arguments. All of it is pure: no clock, no file, no network.
//!
//! Owns qualified names (`names.rs`), the one decision what is listed and what can be called (`resolve.rs`), what differs
//! between two definitions (`diff.rs`), and schemas that are ready to check arguments (`arguments.rs`, kept by `compiled.rs`).
//! Definitions come from servers that may mean harm: nothing here may fetch what a schema refers to, and no schema may cost
//! more time, memory or stack than `graph.rs` and `visits.rs` have counted before. The next keyword by which a schema leads to
//! another one goes to `graph.rs`. `tests/` has the hostile ones, and that what is listed is what can be called.

mod arguments;
mod compiled;
mod diff;
mod entry;
mod extent;
mod graph;
mod names;
mod near;
mod problem;
mod references;
mod resolve;
#[cfg(test)]
mod tests;
mod visits;

pub(super) use compiled::CompiledSchemas;
pub use diff::{DefinitionChange, differences};
pub use entry::Entry;
pub(super) use entry::{CatalogueServer, CatalogueTool};
pub use names::QualifiedName;
pub use problem::SchemaProblem;
pub use resolve::Catalogue;
