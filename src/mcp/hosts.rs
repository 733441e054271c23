//! The hosts of all servers that are switched on, as the registry has them.

use std::{collections::HashMap, sync::Arc};

use parking_lot::RwLock;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{
    ServerRecord,
    host::{Host, HostParts, upstream},
};

/// The hosts. Clones share everything.
#[derive(Clone)]
pub(super) struct Hosts(Arc<Inner>);

struct Inner {
    hosts: RwLock<HashMap<Uuid, Host>>,
    parts: HostParts,
    stop: CancellationToken,
}

/// What became of servers when the registry was looked at.
#[derive(Default)]
pub(super) struct Turnover {
    pub(super) changed: Vec<Arc<ServerRecord>>,
    pub(super) gone: Vec<Arc<ServerRecord>>,
}

impl Hosts {
    pub(super) fn new(parts: HostParts, stop: CancellationToken) -> Self {
        Self(Arc::new(Inner { hosts: RwLock::default(), parts, stop }))
    }

    pub(super) fn find(&self, id: Uuid) -> Option<Host> {
        self.0.hosts.read().get(&id).cloned()
    }

    /// Has a host for each server that is switched on, of its newest configuration, and none besides.
    pub(super) fn follow(&self) -> Turnover {
        let mut turnover = Turnover::default();
        let mut hosts = self.0.hosts.write();
        // Under the lock, so that nobody puts an older state in the place of a newer one.
        let servers = self.0.parts.registry.servers();
        let wanted: HashMap<Uuid, &Arc<ServerRecord>> =
            servers.iter().filter(|server| server.enabled).map(|server| (server.id, server)).collect();
        let gone: Vec<Uuid> = hosts.keys().filter(|id| !wanted.contains_key(id)).copied().collect();
        for host in gone.iter().filter_map(|id| hosts.remove(id)) {
            turnover.gone.push(host.record());
            self.0.parts.upstreams.remove(&upstream(&host.record().name));
            self.retire(host);
        }
        for (id, record) in wanted {
            match hosts.get(&id) {
                Some(host) if host.record().spec == record.spec => host.renew(Arc::clone(record)),
                _ => {
                    // Calls that are under way end with the old one; the next ones begin with the new one.
                    let new = Host::start(Arc::clone(record), self.0.parts.clone(), self.0.stop.child_token());
                    if let Some(old) = hosts.insert(id, new) {
                        self.retire(old);
                    }
                    turnover.changed.push(Arc::clone(record));
                }
            }
        }
        turnover
    }

    fn retire(&self, host: Host) {
        self.0.parts.tasks.spawn(async move { host.retire().await });
    }
}
