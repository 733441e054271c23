//! What this program finds out about servers, on whichever node. News only: what is known already costs no transaction.

use std::slice;

use serde_json::Value;
use uuid::Uuid;

use super::{
    Registry, ToolNews, by_system,
    definition::definitions,
    server::{Finding, Server, ServerEvent, ServerState, stream},
    tools::is_known,
};
use crate::{
    events::Begun,
    mcp::{McpError, Tool},
    model::{FieldError, Timestamp},
};

impl Registry {
    /// Takes in which tools a server offers now, and says what is new of them.
    ///
    /// # Errors
    /// What cannot be kept, and servers that change all the time. What the server offers is not known then, and must not be
    /// used.
    pub async fn record_tools(&self, id: Uuid, tools: &[Tool]) -> Result<ToolNews, McpError> {
        let offered = definitions(tools)?;
        if self.find(id).is_some_and(|record| is_known(&record.tools, &offered)) {
            return Ok(ToolNews::default());
        }
        let changes = |server: &Server, at| match server.tools.compare(offered, at) {
            Some(_) if server.tools.changes_too_often(at) => {
                Err(McpError::Invalid(vec![FieldError::new(&["tools"], "they change too often to be kept")]))
            }
            changes => Ok(changes.map(ServerEvent::McpToolsChanged)),
        };
        Ok(match self.report(id, changes).await? {
            Some(ServerEvent::McpToolsChanged(changes)) => ToolNews::from(&changes),
            _ => ToolNews::default(),
        })
    }

    /// Takes in whether a server can be asked, which version it says it has, and why it cannot. Several nodes may say so.
    pub async fn record_check(
        &self,
        id: Uuid,
        up: bool,
        version: Option<&str>,
        error: Option<&str>,
    ) -> Result<(), McpError> {
        let finding = Finding { up, version, error };
        let known = self.find(id);
        if known.is_some_and(|known| finding.is_known(known.checked.as_ref(), known.server_version.as_deref())) {
            return Ok(());
        }
        self.report(id, |server, at| Ok(server.check(&finding, at))).await.map(drop)
    }

    /// Appends what has happened, as far as that is news under the lock as well; returns what was appended.
    async fn report(
        &self,
        id: Uuid,
        news: impl FnOnce(&Server, Timestamp) -> Result<Option<ServerEvent>, McpError> + Send,
    ) -> Result<Option<ServerEvent>, McpError> {
        let events = &self.0.parts.events;
        let reporting = async {
            let stream = stream(id);
            let Begun::Fresh(mut work) = events.begin(by_system(), slice::from_ref(&stream)).await? else {
                return Ok(None);
            };
            let mut state = work.replay::<ServerState>(&stream).await?;
            let event = news(self.server(id, &state.state)?, work.now())?;
            if let Some(event) = &event {
                work.append(&mut state, slice::from_ref(event)).await?;
                work.commit(Value::Null).await?;
            }
            self.show(id, &state)?;
            Ok(event)
        };
        events.within(reporting).await
    }
}
