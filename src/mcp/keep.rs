//! What keeps this node's view of the servers up to date: hosts, catalogue, cached answers, followers.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::{
    KnownTool, Mcp, ServerRecord,
    catalogue::{Catalogue, CatalogueServer, CatalogueTool},
    events::{self, ServerEvent, ServerEventKind},
    host::HostNews,
};

/// News of hosts that may wait.
pub(super) const MOST_NEWS: usize = 1_024;

/// Follows the registry and the hosts, for ever.
pub(super) async fn keep(mcp: Mcp, mut news: mpsc::Receiver<HostNews>) {
    let mut registry = mcp.registry().changes();
    registry.mark_changed();
    loop {
        tokio::select! {
            changed = registry.changed() => {
                if changed.is_err() {
                    return;
                }
                registry.mark_unchanged();
                follow(&mcp).await;
            }
            Some(heard) = news.recv() => hear(&mcp, heard).await,
        }
    }
}

/// Takes up what is new in the registry.
pub(super) async fn follow(mcp: &Mcp) {
    let turnover = mcp.hosts().follow();
    mcp.tags().invalidate(&[events::servers_tag()]).await;
    for record in turnover.changed {
        tell(mcp, &record, ServerEventKind::Changed).await;
    }
    for record in turnover.gone {
        tell(mcp, &record, ServerEventKind::Gone).await;
    }
}

/// What servers offer, by what is known of them.
pub(super) fn catalogue(servers: &[Arc<ServerRecord>]) -> Catalogue {
    let tool = |known: &KnownTool| CatalogueTool {
        tool: Arc::clone(&known.tool),
        fingerprint: known.fingerprint.clone(),
        held: known.held,
        changed_at: known.changed_at,
        previous: known.previous.clone(),
    };
    Catalogue::build(servers.iter().map(|server| CatalogueServer {
        id: server.id,
        name: Arc::clone(&server.name),
        enabled: server.enabled,
        permissions: server.spec.permissions.as_slice().into(),
        tools: server.tools.values().map(tool).collect(),
    }))
}

async fn hear(mcp: &Mcp, heard: HostNews) {
    // Who is told asks at once: nothing old may be answered then.
    mcp.tags().invalidate(&[events::servers_tag()]).await;
    match heard {
        HostNews::Health(record, health) => {
            if let Some(kind) = ServerEventKind::of(health.status) {
                tell(mcp, &record, kind).await;
            }
        }
        HostNews::Words => {}
        HostNews::Offer(record) => tell(mcp, &record, ServerEventKind::CatalogueChanged).await,
    }
}

async fn tell(mcp: &Mcp, record: &ServerRecord, kind: ServerEventKind) {
    let event = ServerEvent { server_id: record.id, name: Arc::clone(&record.name), kind, at: mcp.clock().now() };
    mcp.bus().publish(&events::servers(), event).await;
}
