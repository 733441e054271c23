//! The front door's language: schema, plan, admission, execution, live groups.
//!
//! Only this room knows `async_graphql`. Resolvers are thin: arguments, one service call, answer.
//! [`Gateway`] is the way in. A new area is a folder with its types and resolvers, merged in `schema.rs`; a new
//! limit or role is a directive on a field. `tests/it/graphql_*.rs` come in by the front door.

mod access;
mod admission;
mod agent;
mod answers;
mod audit;
mod caches;
mod chains;
mod context;
mod directives;
mod error;
mod error_code;
mod exchange;
mod execution;
mod front_half;
mod gateway;
mod live;
mod loaders;
mod market;
mod mcp;
mod meters;
#[cfg(test)]
mod nulls;
mod paging;
mod persisted;
mod plan;
mod rows;
mod scalars;
mod schema;
mod swaps;
mod tools;
mod upstreams;

pub use answers::{AnswerCache, AnswerKey, Kept, NotKept};
pub use context::Services;
pub use error_code::ErrorCode;
pub use exchange::{
    Answer, Caller, Frame, Frames, GraphqlRequest, LimitState, Outcome, Permit, PersistedQuery, RequestId,
};
pub use front_half::FrontHalf;
pub use gateway::{Gateway, GatewayError};
pub use persisted::TrustedDocumentsError;
pub use plan::SchemaError;
pub use schema::sdl;
pub use tools::{Tool, ToolError, ToolHints, ToolOutcome, ToolProgress, ToolScope, Tools};
