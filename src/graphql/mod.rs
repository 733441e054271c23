//! The front door's language: schema, plan, admission, execution, live groups.
//!
//! Only this room and its HTTP bridge know `async_graphql`. Resolvers are thin: arguments, one service call, answer.

mod error_code;
mod exchange;

pub use error_code::ErrorCode;
pub use exchange::{
    Answer, Caller, Frame, Frames, GraphqlRequest, LimitState, Outcome, Permit, PersistedQuery, RequestId,
};
