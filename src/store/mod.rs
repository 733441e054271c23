//! Connections to what keeps data for several nodes: Redis, so far.
//!
//! Owns how they are reached, how their loss is noticed and how they come back. It must never keep a caller longer than
//! the deadline that the caller named, and knows nothing of what is stored. The next store is a folder beside `redis/`.
//! `tests/it/redis_link.rs` and `redis_channels.rs` prove it against real servers.

mod redis;

pub use redis::{
    Heard, Lane, LinkState, Listening, Lua, NodeId, PARTITIONS, Redis, RedisError, RedisOpenError, RedisParts,
    partition_of,
};
