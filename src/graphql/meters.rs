//! What the front door counts. Handles are made once; a hot path only adds.

use std::time::Duration;

use async_graphql::parser::types::OperationType;
use metrics::{Counter, Histogram, counter, histogram};

use super::ErrorCode;

/// Counts of operations by kind, and how long they took.
pub(crate) struct Meters {
    queries: Operation,
    mutations: Operation,
    followed: Counter,
}

struct Operation {
    executed: Counter,
    kept: Counter,
    seconds: Histogram,
}

impl Meters {
    pub(crate) fn new() -> Self {
        let operation = |kind: &'static str| Operation {
            executed: counter!("tidegate_graphql_operations_total", "kind" => kind, "answer" => "executed"),
            kept: counter!("tidegate_graphql_operations_total", "kind" => kind, "answer" => "kept"),
            seconds: histogram!("tidegate_graphql_operation_seconds", "kind" => kind),
        };
        Self {
            queries: operation("query"),
            mutations: operation("mutation"),
            followed: counter!("tidegate_graphql_operations_total", "kind" => "subscription", "answer" => "executed"),
        }
    }

    /// An operation was answered, from what was kept or not, after this long.
    pub(crate) fn answered(&self, kind: OperationType, kept: bool, took: Duration) {
        let operation = match kind {
            OperationType::Query => &self.queries,
            OperationType::Mutation => &self.mutations,
            // Streams are counted when they begin; how long they last is the caller's choice.
            OperationType::Subscription => return,
        };
        if kept { &operation.kept } else { &operation.executed }.increment(1);
        operation.seconds.record(took);
    }

    /// A caller began to follow a subscription.
    pub(crate) fn followed(&self) {
        self.followed.increment(1);
    }

    /// An operation was refused. Rare, and of many codes: looked up when it happens.
    pub(crate) fn refused(code: ErrorCode) {
        counter!("tidegate_graphql_refusals_total", "code" => code.as_str()).increment(1);
    }
}
