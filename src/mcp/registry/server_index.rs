//! Servers in the index: a row for each that there is, for whoever reads the database. Nothing here reads it.

use async_trait::async_trait;

use super::{
    server::{ServerEvent, ServerState, Status},
    store::{self, Change, Entry, Row},
};
use crate::{
    events::{Aggregate, DomainEvent, Leftovers, Projection, ProjectionError, read},
    store::{Database, Transaction},
};

/// Keeps the index of servers.
pub(super) struct ServerIndex;

#[async_trait]
impl Projection for ServerIndex {
    fn name(&self) -> &'static str {
        "mcp_servers"
    }

    async fn apply(
        &self,
        index: &Database,
        transaction: &mut Transaction,
        generation: i64,
        events: &[DomainEvent],
    ) -> Result<Leftovers, ProjectionError> {
        for event in events.iter().filter(|event| &*event.aggregate_type == ServerState::TYPE) {
            let row = Row { generation, id: event.uuid_in::<ServerState>()?, stream_version: event.event_version };
            match read::<ServerState>(event)? {
                ServerEvent::McpServerRegistered { name, source, config, enabled, at } => {
                    let entry = Entry { name: &name, source, config: &config, enabled, at };
                    store::insert(index, transaction, row, &entry).await?;
                }
                ServerEvent::McpServerRemoved { .. } => store::delete(index, transaction, row).await?,
                other => store::update(index, transaction, row, &change(other)).await?,
            }
        }
        Ok(Leftovers::None)
    }

    async fn clear(
        &self,
        index: &Database,
        transaction: &mut Transaction,
        generation: i64,
    ) -> Result<(), ProjectionError> {
        Ok(store::clear(index, transaction, generation).await?)
    }
}

/// What an event changes of a row.
fn change(event: ServerEvent) -> Change {
    let nothing = Change::default();
    match event {
        ServerEvent::McpServerUpdated { config, at } => {
            Change { config: Some(config), updated_at: Some(at), ..nothing }
        }
        ServerEvent::McpServerEnabled { at } => Change { enabled: Some(true), updated_at: Some(at), ..nothing },
        ServerEvent::McpServerDisabled { at } => Change { enabled: Some(false), updated_at: Some(at), ..nothing },
        ServerEvent::McpServerChecked { status, version, error, at } => {
            let status = if status == Status::Up { "UP" } else { "DOWN" };
            Change { status: Some(status), version, error, last_health_check: Some(at), ..nothing }
        }
        ServerEvent::McpServerRegistered { .. }
        | ServerEvent::McpServerRemoved { .. }
        | ServerEvent::McpToolsChanged(_)
        | ServerEvent::McpToolApproved { .. } => nothing,
    }
}
