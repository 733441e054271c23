//! Connections to what keeps data: a database for what must not be lost, and Redis for what several nodes share.
//!
//! Owns how they are reached, how their loss is noticed and how they come back. It must never keep a caller longer than
//! the deadline that was named, and knows nothing of what is stored. The next store is a folder beside these.
//! `tests/it/redis_*.rs` and `database_outages.rs` prove it against real servers.

mod database;
mod redis;

pub(crate) use database::on;
pub use database::{
    Database, DatabaseError, DatabaseOpenError, DatabaseState, Either, Migrated, Reader, StoreParts, Stores,
    Transaction, make_folder,
};
pub use redis::{
    Heard, Lane, LinkState, Listening, Lua, NodeId, PARTITIONS, Redis, RedisError, RedisOpenError, RedisParts,
    partition_of,
};
