//! Three masters that share the slots, without replicas. A master that is down takes only its own slots with it.

use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::{PATIENCE, POLL, redis::RedisServer};

const SLOTS: u16 = 16_384;
const MASTERS: u16 = 3;

/// A running Redis Cluster.
pub(crate) struct RedisCluster {
    nodes: Vec<RedisServer>,
}

impl RedisCluster {
    pub(crate) async fn start() -> Self {
        let settings = RedisServer::builder()
            .arg("--cluster-enabled", "yes")
            .arg("--cluster-config-file", "nodes.conf")
            .arg("--cluster-node-timeout", "1000")
            .arg("--cluster-require-full-coverage", "no");
        let mut nodes = Vec::new();
        for _ in 0..MASTERS {
            nodes.push(settings.clone().start().await);
        }
        let cluster = Self { nodes };
        for (number, node) in (0..).zip(&cluster.nodes) {
            let share = |number: u16| u32::from(number) * u32::from(SLOTS) / u32::from(MASTERS);
            let (first, end) = (share(number), share(number + 1));
            assert_eq!(node.cli(&["CLUSTER", "ADDSLOTSRANGE", &first.to_string(), &(end - 1).to_string()]), "OK");
            assert_eq!(node.cli(&["CLUSTER", "SET-CONFIG-EPOCH", &(number + 1).to_string()]), "OK");
            let first = cluster.nodes[0].port().to_string();
            assert_eq!(node.cli(&["CLUSTER", "MEET", "127.0.0.1", &first]), "OK");
        }
        cluster.settled().await;
        cluster
    }

    pub(crate) fn nodes(&self) -> &[RedisServer] {
        &self.nodes
    }

    /// Of the first node.
    pub(crate) fn url(&self) -> String {
        self.nodes[0].url()
    }

    /// Every node, as `redis.cluster_seeds` names them.
    pub(crate) fn seeds(&self) -> Vec<String> {
        self.nodes.iter().map(|node| format!("127.0.0.1:{}", node.port())).collect()
    }

    pub(crate) fn slot(&self, key: &str) -> u16 {
        self.nodes[0].cli(&["CLUSTER", "KEYSLOT", key]).parse().expect("a number")
    }

    /// The node that says of itself that it serves the slot: its place in [`RedisCluster::nodes`].
    pub(crate) fn owner(&self, slot: u16) -> usize {
        let serves = |node: &RedisServer| {
            let table = node.cli(&["CLUSTER", "NODES"]);
            let own = table.lines().find(|line| line.contains("myself")).expect("a node knows itself");
            // After the eight fields come ranges, and in brackets what is under way.
            own.split(' ').skip(8).filter(|range| !range.starts_with('[')).any(|range| {
                let (first, last) = range.split_once('-').unwrap_or((range, range));
                (first.parse::<u16>().unwrap()..=last.parse().unwrap()).contains(&slot)
            })
        };
        self.nodes.iter().position(serves).expect("somebody serves every slot")
    }

    /// Moves a slot with its keys from one node to another, as `redis-cli --cluster reshard` does. Clients are sent
    /// after it by `ASK` for the moment that it takes, and by `MOVED` afterwards.
    pub(crate) async fn migrate(&self, slot: u16, from: usize, to: usize) {
        let (source, target, slot) = (&self.nodes[from], &self.nodes[to], slot.to_string());
        let (source_id, target_id) = (source.run(&["CLUSTER", "MYID"]).await, target.run(&["CLUSTER", "MYID"]).await);
        assert_eq!(target.run(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &source_id]).await, "OK");
        assert_eq!(source.run(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &target_id]).await, "OK");
        let port = target.port().to_string();
        loop {
            let keys = source.run(&["CLUSTER", "GETKEYSINSLOT", &slot, "100"]).await;
            if keys.is_empty() {
                break;
            }
            let mut command = vec!["MIGRATE", "127.0.0.1", &port, "", "0", "5000", "REPLACE", "KEYS"];
            command.extend(keys.lines());
            let moved = source.run(&command).await;
            assert!(moved == "OK" || moved == "NOKEY", "{moved}");
        }
        // The target first: until it says that the slot is its own, the source must go on sending clients there. Nobody
        // twice: a node that hears it again drops the subscriptions to the slot's channels once more.
        let others = self.nodes.iter().enumerate().filter(|(place, _)| ![from, to].contains(place));
        for node in [target, source].into_iter().chain(others.map(|(_, node)| node)) {
            assert_eq!(node.run(&["CLUSTER", "SETSLOT", &slot, "NODE", &target_id]).await, "OK");
        }
    }

    /// Waits until every node finds every other node and all slots served.
    pub(crate) async fn settled(&self) {
        let settled = async |node: &RedisServer| {
            let info = node.run(&["CLUSTER", "INFO"]).await;
            let says = |line: &str| info.lines().any(|found| found.trim_end() == line);
            says("cluster_state:ok")
                && says(&format!("cluster_slots_ok:{SLOTS}"))
                && says(&format!("cluster_known_nodes:{MASTERS}"))
        };
        let all = async {
            for node in &self.nodes {
                while !settled(node).await {
                    sleep(POLL * 5).await;
                }
            }
        };
        timeout(PATIENCE + Duration::from_secs(20), all).await.expect("the cluster settles");
    }
}
