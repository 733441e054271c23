//! The shared tier in Redis: its names, commands and scripts. `contract.rs` says what they must do.
//!
//! One hash holds the revocations of all caches: fields `e` (epoch), `c` (clock) and one per slot; a channel beside it
//! carries every step. Values lie at `cache:NAME:KEY`, spread over a cluster, and a claim of a load at
//! `cache:NAME:KEY:loading`.

use std::{sync::LazyLock, time::Duration};

use redis::{Cmd, cmd};

use super::stamp::{Stamp, Table};
use crate::{
    cache::slots::Slot,
    store::{Lane, Listening, Lua, Redis, RedisError},
};

static REVOKE: LazyLock<Lua> = LazyLock::new(|| Lua::new(include_str!("revoke.lua")));
static TABLE: LazyLock<Lua> = LazyLock::new(|| Lua::new(include_str!("table.lua")));
static PUT: LazyLock<Lua> = LazyLock::new(|| Lua::new(include_str!("put.lua")));
static RELEASE: LazyLock<Lua> = LazyLock::new(|| Lua::new(include_str!("release.lua")));

/// Long enough for a whole table, as nobody waits for it.
const TABLE_DEADLINE: Duration = Duration::from_secs(1);

/// The tier's end at this node.
pub(in crate::cache) struct RedisTier {
    redis: Redis,
    node: String,
    /// For what callers wait for.
    values: Lane,
    /// For what only the mirror waits for.
    tables: Lane,
    table: String,
    channel: String,
}

impl RedisTier {
    pub(super) fn new(redis: &Redis, deadline: Duration) -> Self {
        Self {
            redis: redis.clone(),
            node: redis.node().to_string(),
            values: redis.lane("cache", deadline),
            tables: redis.lane("cache_table", TABLE_DEADLINE),
            table: redis.key("cache:{c}:revoked"),
            channel: redis.key("cache:{c}:revocations"),
        }
    }

    pub(super) fn name(&self, cache: &str, key: &str) -> String {
        self.redis.key(&format!("cache:{cache}:{key}"))
    }

    pub(super) fn listen(&self) -> Listening {
        self.redis.listen(self.channel.clone())
    }

    pub(super) async fn revoke(&self, slots: &[Slot]) -> Result<Stamp, RedisError> {
        let slots: Vec<String> = slots.iter().map(Slot::to_string).collect();
        let mut args = vec![self.redis.publish_verb().as_bytes(), self.node.as_bytes()];
        args.extend(slots.iter().map(String::as_bytes));
        let (epoch, clock) = self.values.script(&REVOKE, &[&self.table, &self.channel], &args).await?;
        Ok(Stamp { epoch, clock })
    }

    pub(super) async fn table(&self, known: Stamp) -> Result<Table, RedisError> {
        let (epoch, clock) = (known.epoch.to_string(), known.clock.to_string());
        let args = [self.redis.publish_verb().as_bytes(), self.node.as_bytes(), epoch.as_bytes(), clock.as_bytes()];
        let numbers: Vec<u64> = self.tables.script(&TABLE, &[&self.table, &self.channel], &args).await?;
        Table::parse(&numbers).ok_or_else(|| RedisError::Unexpected("a table of another version".to_owned()))
    }

    pub(super) async fn read(&self, names: &[String]) -> Vec<Result<Option<Vec<u8>>, RedisError>> {
        self.values.run_many(names.iter().map(|name| command("GET", name)).collect()).await
    }

    pub(super) async fn put(&self, name: &str, envelope: &[u8], keep: Duration) -> Result<bool, RedisError> {
        let keep = millis(keep);
        self.values.script(&PUT, &[name], &[envelope, keep.as_bytes()]).await
    }

    pub(super) async fn discard(&self, names: &[String]) {
        self.values.run_many::<()>(names.iter().map(|name| command("UNLINK", name)).collect()).await;
    }

    /// Claims the loads of these names, for a while; which of them nobody had claimed.
    pub(super) async fn claim(&self, names: &[String], keep: Duration) -> Vec<Result<bool, RedisError>> {
        let keep = millis(keep);
        let claim = |name: &String| {
            let mut set = command("SET", &claim_of(name));
            set.arg(&self.node).arg("NX").arg("PX").arg(&keep);
            set
        };
        let answers = self.values.run_many::<Option<String>>(names.iter().map(claim).collect()).await;
        answers.into_iter().map(|answer| answer.map(|claimed| claimed.is_some())).collect()
    }

    pub(super) async fn is_claimed(&self, names: &[String]) -> Vec<Result<bool, RedisError>> {
        self.values.run_many(names.iter().map(|name| command("EXISTS", &claim_of(name))).collect()).await
    }

    pub(super) async fn release(&self, name: &str) -> Result<(), RedisError> {
        self.values.script(&RELEASE, &[&claim_of(name)], &[self.node.as_bytes()]).await
    }
}

fn command(verb: &str, name: &str) -> Cmd {
    let mut command = cmd(verb);
    command.arg(name);
    command
}

fn claim_of(name: &str) -> String {
    format!("{name}:loading")
}

/// Redis takes no lifetime of zero.
fn millis(time: Duration) -> String {
    time.as_millis().max(1).to_string()
}
