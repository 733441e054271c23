//! The audit log in the schema: for operators, who did what.

mod query;
mod types;

pub(crate) use query::AuditQuery;
