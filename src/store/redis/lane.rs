//! Sending commands for one purpose: with its own deadline, its own patience and its own metrics.

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use metrics::{Counter, Histogram, counter, histogram};
use redis::{Arg, Cmd, FromRedisValue, Value};

use super::{
    Lua, RedisError,
    cool_off::CoolOff,
    link::{Connection, Link},
    partition,
};

/// A way to send commands for one purpose. Clones share their cool-off.
#[derive(Clone)]
pub struct Lane(Arc<Shared>);

struct Shared {
    deadline: Duration,
    link: Arc<Link>,
    cool_off: CoolOff,
    meters: Meters,
}

struct Meters {
    answered: Counter,
    refused: Counter,
    timed_out: Counter,
    lost: Counter,
    unavailable: Counter,
    seconds: Histogram,
}

impl Lane {
    pub(super) fn new(name: &'static str, deadline: Duration, link: Arc<Link>) -> Self {
        let commands =
            |outcome: &'static str| counter!("tidegate_redis_commands_total", "lane" => name, "outcome" => outcome);
        let meters = Meters {
            answered: commands("answered"),
            refused: commands("refused"),
            timed_out: commands("timed_out"),
            lost: commands("lost"),
            unavailable: commands("unavailable"),
            seconds: histogram!("tidegate_redis_command_seconds", "lane" => name),
        };
        Self(Arc::new(Shared { deadline, link, cool_off: CoolOff::new(), meters }))
    }

    /// Runs one command, whose first argument is its key.
    pub async fn run<T: FromRedisValue>(&self, command: Cmd) -> Result<T, RedisError> {
        let key = command.args_iter().nth(1);
        let slot = self.slot(if let Some(Arg::Simple(key)) = key { key } else { b"" });
        self.attempt(slot, async |mut connection| connection.send(slot, &command).await).await
    }

    /// Runs commands that have nothing to do with each other, all within one deadline; each has its own answer.
    pub async fn run_many<T: FromRedisValue>(&self, commands: Vec<Cmd>) -> Vec<Result<T, RedisError>> {
        join_all(commands.into_iter().map(|command| self.run(command))).await
    }

    /// Runs a script. All its keys must be in one slot.
    pub async fn script<T: FromRedisValue>(
        &self,
        script: &Lua,
        keys: &[&str],
        args: &[&[u8]],
    ) -> Result<T, RedisError> {
        let slot = self.slot(keys.first().map_or(b"", |key| key.as_bytes()));
        self.attempt(slot, async |mut connection| connection.run(slot, script, keys, args).await).await
    }

    /// Sends if that is worth trying, bounds the wait, and draws the lesson from how it ended.
    async fn attempt<T: FromRedisValue>(
        &self,
        slot: u16,
        call: impl AsyncFnOnce(Connection) -> redis::RedisResult<Value>,
    ) -> Result<T, RedisError> {
        let Shared { deadline, link, cool_off, meters } = &*self.0;
        let began = link.elapsed();
        let Some(connection) = link.connection().filter(|(_, number)| cool_off.admits(slot, *number, began)) else {
            meters.unavailable.increment(1);
            return Err(RedisError::Unavailable);
        };
        let answer = match tokio::time::timeout(*deadline, call(connection.0)).await {
            Ok(answer) => answer.map_err(RedisError::from),
            Err(_elapsed) => Err(RedisError::TimedOut),
        };
        let ended = link.elapsed();
        match &answer {
            Err(error) if error.is_outage() => {
                cool_off.failed(slot, ended);
                link.suspect();
            }
            _ => cool_off.succeeded(slot),
        }
        meters.count(&answer, ended.saturating_sub(began));
        T::from_redis_value(answer?).map_err(|error| RedisError::Unexpected(error.to_string()))
    }

    /// The slot of a key. On a single server all slots are one.
    fn slot(&self, key: &[u8]) -> u16 {
        if self.0.link.is_cluster() { partition::slot(key) } else { 0 }
    }
}

impl Meters {
    fn count(&self, answer: &Result<Value, RedisError>, took: Duration) {
        match answer {
            Ok(_) => &self.answered,
            Err(RedisError::Refused(_) | RedisError::Unexpected(_)) => &self.refused,
            Err(RedisError::TimedOut) => &self.timed_out,
            Err(RedisError::Lost(_)) => &self.lost,
            Err(RedisError::Unavailable) => &self.unavailable,
        }
        .increment(1);
        self.seconds.record(took.as_secs_f64());
    }
}
