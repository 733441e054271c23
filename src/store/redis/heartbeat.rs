//! The heartbeat: shows that Redis answers and that this node lives, and counts the nodes that do.

use std::{sync::LazyLock, time::Duration};

use redis::{ErrorKind, FromRedisValue, ServerErrorKind};

use super::{Lua, NodeId, RedisError, link::Connection, partition};

static PRESENT: LazyLock<Lua> = LazyLock::new(|| Lua::new(include_str!("heartbeat.lua")));

pub(super) struct Heart {
    /// Time between two beats, and for each of them.
    pub(super) interval: Duration,
    node: String,
    nodes: String,
}

impl Heart {
    pub(super) fn new(node: NodeId, prefix: &str, interval: Duration) -> Self {
        Self { interval, node: node.to_string(), nodes: format!("{prefix}nodes") }
    }

    /// One beat: how many nodes there are, or `None` where Redis answers and will not say.
    pub(super) async fn beat(&self, connection: Connection) -> Result<Option<u32>, RedisError> {
        let present = async {
            let present = tokio::time::timeout(self.interval, self.present(connection.clone())).await;
            present.unwrap_or_else(|_elapsed| Err((ErrorKind::Io, "the heartbeat was not answered").into()))
        };
        let (present, anybody) = match &connection {
            Connection::Single(_) => (present.await, false),
            Connection::Cluster(cluster) => tokio::join!(present, cluster.tend(self.interval)),
        };
        match present {
            Ok(nodes) => Ok(Some(nodes)),
            // One dead master must not look like a dead cluster.
            Err(error) if anybody && error.kind() != ErrorKind::Server(ServerErrorKind::ClusterDown) => Ok(None),
            Err(error) => match RedisError::from(error) {
                // It answers, be it that it has no memory or no permission for this.
                RedisError::Refused(_) | RedisError::Unexpected(_) => Ok(None),
                error => Err(error),
            },
        }
    }

    async fn present(&self, mut connection: Connection) -> redis::RedisResult<u32> {
        // Long enough to miss a beat or two, short enough that the dead do not take a share of the limits for long.
        let lifetime = (self.interval * 5).as_millis().to_string();
        let (keys, args) = ([self.nodes.as_str()], [self.node.as_bytes(), lifetime.as_bytes()]);
        let answer = connection.run(partition::slot(self.nodes.as_bytes()), &PRESENT, &keys, &args).await?;
        Ok(u32::from_redis_value(answer)?)
    }
}
