//! The servers that the file of this node configures: each has a stream under an id that is the same on every node, so that
//! it can be switched off, checked and approved of like any other.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{
    Registry, ServerSource, by_system, from_system,
    names::{self, Names},
    registration::{said, take},
    server::{ServerEvent, ServerState, id_in_files, stream},
};
use crate::{
    audit::Entry,
    events::{Begun, EventsError},
    mcp::{McpError, ServerSpec, name_problem},
    model::FieldError,
};

impl Registry {
    /// Registers the servers of the file, and writes down where they are configured otherwise than before. One that cannot
    /// be registered is left out.
    ///
    /// # Errors
    /// Failures of the database: it is to be tried again.
    pub(super) async fn adopt_file(&self) -> Result<(), EventsError> {
        for (name, spec) in &self.0.file {
            match self.0.parts.events.within(self.adopt(name, spec)).await {
                Err(McpError::Events(error @ EventsError::Database(_))) => return Err(error),
                Err(error) => tracing::error!(server = name, %error, "a server of the file is left out"),
                Ok(()) => {}
            }
        }
        Ok(())
    }

    async fn adopt(&self, name: &str, spec: &Arc<ServerSpec>) -> Result<(), McpError> {
        if let Some(problem) = name_problem(name) {
            return Err(McpError::Invalid(vec![FieldError::new(&["name"], problem)]));
        }
        let (audit, id) = (&self.0.parts.audit, id_in_files(name));
        let locks = [names::STREAM.to_owned(), stream(id)];
        let Begun::Fresh(mut work) = audit.begin(by_system(), &locks).await? else { return Ok(()) };
        let mut names = work.replay::<Names>(names::STREAM).await?;
        if names.state.holder(name).is_some_and(|holder| holder != id) {
            return Err(McpError::NameTaken(name.to_owned()));
        }
        let (mut state, at) = (work.replay::<ServerState>(&stream(id)).await?, work.now());
        let config = Arc::clone(spec);
        let (action, event) = match &state.state.server {
            Some(server) if server.config == *spec => return self.show(id, &state).map(drop),
            Some(_) => ("mcp.server.update", ServerEvent::McpServerUpdated { config, at }),
            None => {
                let name: Arc<str> = name.into();
                take(&mut work, &mut names, &name, id).await?;
                let source = ServerSource::File;
                let event = ServerEvent::McpServerRegistered { name, source, config, enabled: true, at };
                ("mcp.server.register", event)
            }
        };
        work.append(&mut state, &[event]).await?;
        let mut said = said(spec);
        (said["name"], said["source"]) = (json!(name), json!(ServerSource::File));
        audit.record(&mut work, &from_system(), Entry::done(action, stream(id), said)).await?;
        work.commit(Value::Null).await?;
        self.show(id, &state).map(drop)
    }
}
