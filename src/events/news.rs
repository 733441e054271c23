//! Word that something was appended: here at once, to the other nodes soon. Hints only; whoever hears none looks anyway.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    time::{sleep, timeout},
};

use super::postgres;
use crate::{
    bus::{Bus, Delivery, Topic},
    store::Database,
};

/// At most this often the other nodes are told.
const PAUSE: Duration = Duration::from_millis(20);
/// Whoever hears nothing looks after this time.
pub(super) const PATIENCE: Duration = Duration::from_millis(500);

/// Tells readers on this node what was appended.
#[derive(Debug, Clone)]
pub(super) struct News {
    /// Counts what was heard.
    heard: Arc<watch::Sender<u64>>,
    /// Counts what was appended here.
    appended: Arc<watch::Sender<u64>>,
    bus: Bus,
}

/// The newest version of a stream, as far as the reader of the topic needs to know.
fn topic(aggregate_id: &str) -> Topic<u64> {
    Topic::new(format!("stream:{aggregate_id}"), Delivery::Latest)
}

impl News {
    /// `bus` must be this node's own: every node reads the log itself.
    pub(super) fn new(bus: Bus) -> Self {
        Self { heard: Arc::new(watch::Sender::new(0)), appended: Arc::new(watch::Sender::new(0)), bus }
    }

    /// Something was appended on this node.
    pub(super) fn tell(&self, streams: &[(Arc<str>, u64)]) {
        if !streams.is_empty() {
            self.appended.send_modify(|count| *count += 1);
            self.heard.send_modify(|count| *count += 1);
        }
    }

    /// Grows whenever there may be something new in the log.
    pub(super) fn heard(&self) -> watch::Receiver<u64> {
        self.heard.subscribe()
    }

    /// Tells the readers of a stream how far it has come, in the order of the log.
    pub(super) async fn publish(&self, aggregate_id: &str, version: u64) {
        self.bus.publish(&topic(aggregate_id), version).await;
    }

    /// The versions of a stream as they become known here.
    pub(super) fn versions(&self, aggregate_id: &str) -> crate::bus::Subscription<u64> {
        self.bus.subscribe(&topic(aggregate_id))
    }

    /// Passes word between the nodes that share a PostgreSQL, for ever. With SQLite there is nobody to tell.
    pub(super) async fn carry(self, log: Database) {
        let Some(pool) = log.postgres().cloned() else { return };
        let mut appended = self.appended.subscribe();
        let telling = async {
            while appended.changed().await.is_ok() {
                sleep(PAUSE).await;
                // Who is not told looks a little later.
                let _ = timeout(PATIENCE, postgres::notify(&pool)).await;
            }
        };
        let hearing = async {
            loop {
                if let Ok(mut listener) = postgres::listen(&pool).await {
                    while listener.recv().await.is_ok() {
                        self.heard.send_modify(|count| *count += 1);
                    }
                }
                sleep(PATIENCE).await;
            }
        };
        tokio::join!(telling, hearing);
    }
}
