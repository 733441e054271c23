//! How servers come, and how they go: with their names, in one transaction.

use std::sync::Arc;

use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    Registry, ServerRecord, ServerSource,
    definition::has_nul,
    names::{self, Names, NamesEvent},
    server::{Server, ServerEvent, ServerState, id_in_files, stream},
    shelf::Read,
};
use crate::{
    audit::Entry,
    events::{Begun, Command, Replayed, Work},
    mcp::{McpError, ServerSpec, name_problem},
    model::{FieldError, Origin},
};

/// The largest configuration, in bytes of JSON.
const LARGEST: usize = 256 * 1_024;

/// A server that somebody wants to be there.
#[derive(Debug, Clone, PartialEq)]
pub struct ServerDraft {
    /// Its name.
    pub name: String,
    /// What it is to be: see [`ServerSpec`].
    pub config: Value,
    /// Whether it may be asked at once.
    pub enabled: bool,
}

impl ServerDraft {
    fn checked(&self) -> Result<ServerSpec, McpError> {
        let name = name_problem(&self.name).map(|problem| FieldError::new(&["input", "name"], problem));
        match (name, read_config(&self.config)) {
            (None, Ok(spec)) => Ok(spec),
            (name, spec) => Err(McpError::Invalid(name.into_iter().chain(spec.err().into_iter().flatten()).collect())),
        }
    }
}

/// A configuration as it can be kept.
pub(super) fn read_config(config: &Value) -> Result<ServerSpec, Vec<FieldError>> {
    let path = ["input", "config"];
    if config.to_string().len() > LARGEST {
        return Err(vec![FieldError::new(&path, format!("has more than {LARGEST} bytes"))]);
    }
    if has_nul(config) {
        return Err(vec![FieldError::new(&path, "a NUL character cannot be kept")]);
    }
    ServerSpec::read(config, &path)
}

/// What the audit log says of a configuration: nothing that could be a secret, which paths of URLs are here and there.
pub(super) fn said(spec: &ServerSpec) -> Value {
    let url = spec.url.as_ref().map(|url| url.origin().ascii_serialization());
    json!({ "command": spec.command, "url": url })
}

impl Registry {
    /// Registers a server. On this node it is there when this returns, on the others soon.
    pub async fn register(
        &self,
        command: Command,
        origin: &Origin,
        draft: ServerDraft,
    ) -> Result<Arc<ServerRecord>, McpError> {
        let spec = draft.checked()?;
        if self.0.file.contains_key(&draft.name) {
            return Err(McpError::NameTaken(draft.name));
        }
        self.0.parts.events.within(self.append_registered(command, origin, &draft, spec)).await
    }

    async fn append_registered(
        &self,
        command: Command,
        origin: &Origin,
        draft: &ServerDraft,
        spec: ServerSpec,
    ) -> Result<Arc<ServerRecord>, McpError> {
        let (id, in_files) = (Uuid::now_v7(), id_in_files(&draft.name));
        let locks = [names::STREAM.to_owned(), stream(id), stream(in_files)];
        let mut work = match self.0.parts.audit.begin(command, &locks).await? {
            Begun::Fresh(work) => work,
            Begun::Repeated(result) => return self.as_it_is(&result).await,
        };
        let mut names = work.replay::<Names>(names::STREAM).await?;
        let gone = match names.state.holder(&draft.name) {
            None => None,
            Some(holder) if holder == in_files => Some(self.take_over(&mut work, &mut names, in_files).await?),
            Some(_) => return Err(McpError::NameTaken(draft.name.clone())),
        };
        let name: Arc<str> = draft.name.as_str().into();
        take(&mut work, &mut names, &name, id).await?;
        let mut said = said(&spec);
        (said["name"], said["enabled"]) = (json!(draft.name), json!(draft.enabled));
        let (source, config, enabled, at) = (ServerSource::Registered, Arc::new(spec), draft.enabled, work.now());
        let mut state = Replayed::<ServerState>::new(stream(id));
        work.append(&mut state, &[ServerEvent::McpServerRegistered { name, source, config, enabled, at }]).await?;
        let entry = Entry::done("mcp.server.register", stream(id), said);
        self.0.parts.audit.record(&mut work, origin, entry).await?;
        work.commit(json!({ "server": id })).await?;
        self.0.shelf.put(gone.into_iter().chain([self.read(id, &state)]));
        self.find(id).ok_or_else(|| McpError::NoServer(id.to_string()))
    }

    /// Frees the name of a server that some file configures, or did once. This node's does not: it would have refused.
    async fn take_over(&self, work: &mut Work, names: &mut Replayed<Names>, in_files: Uuid) -> Result<Read, McpError> {
        let mut state = work.replay::<ServerState>(&stream(in_files)).await?;
        free(work, names, &mut state).await?;
        tracing::warn!(server = %in_files, "a server of another file has lost its name to one that was registered");
        Ok(self.read(in_files, &state))
    }

    /// Removes a server. Its name is free when this returns.
    pub async fn remove(&self, command: Command, origin: &Origin, id: Uuid) -> Result<(), McpError> {
        self.0.parts.events.within(self.append_removed(command, origin, id)).await
    }

    async fn append_removed(&self, command: Command, origin: &Origin, id: Uuid) -> Result<(), McpError> {
        let locks = [names::STREAM.to_owned(), stream(id)];
        // Done before: it is gone.
        let Begun::Fresh(mut work) = self.0.parts.audit.begin(command, &locks).await? else { return Ok(()) };
        let mut state = work.replay::<ServerState>(&stream(id)).await?;
        let Server { name, source, .. } = self.server(id, &state.state)?;
        if *source == ServerSource::File {
            return Err(McpError::FromFile(name.to_string()));
        }
        let said = json!({ "name": name });
        let mut names = work.replay::<Names>(names::STREAM).await?;
        free(&mut work, &mut names, &mut state).await?;
        let entry = Entry::done("mcp.server.remove", stream(id), said);
        self.0.parts.audit.record(&mut work, origin, entry).await?;
        work.commit(json!({ "server": id })).await?;
        self.0.shelf.put([self.read(id, &state)]);
        Ok(())
    }
}

/// Gives a server its name.
pub(super) async fn take(
    work: &mut Work,
    names: &mut Replayed<Names>,
    name: &Arc<str>,
    server: Uuid,
) -> Result<(), McpError> {
    if names.state.is_full() {
        let message = format!("{} servers are registered already, as many as may be", names::MOST);
        return Err(McpError::Invalid(vec![FieldError::new(&["input", "name"], message)]));
    }
    work.append(names, &[NamesEvent::McpNameTaken { name: Arc::clone(name), server }]).await?;
    Ok(())
}

/// Removes a server, if it is there, and frees its name.
async fn free(work: &mut Work, names: &mut Replayed<Names>, state: &mut Replayed<ServerState>) -> Result<(), McpError> {
    let Some(Server { name, .. }) = &state.state.server else { return Ok(()) };
    work.append(names, &[NamesEvent::McpNameFreed { name: Arc::clone(name) }]).await?;
    let at = work.now();
    work.append(state, &[ServerEvent::McpServerRemoved { at }]).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_is_wrong_with_a_draft_is_said_at_once() {
        let large = json!({ "command": "a", "envFrom": vec!["N".repeat(1_000); 300] });
        for (name, config, wrong) in [
            ("time", json!({"command": "a"}), ""),
            ("Time", json!({"command": "a"}), "input.name"),
            ("Time", json!({"url": "ftp://a"}), "input.name input.config.url"),
            ("time", json!({"command": "a", "envFrom": ["A\0"]}), "input.config"),
            ("time", large, "input.config"),
        ] {
            let draft = ServerDraft { name: name.to_owned(), config, enabled: true };
            let found = match draft.checked() {
                Ok(_) => String::new(),
                Err(McpError::Invalid(problems)) => {
                    problems.iter().map(|problem| problem.path.join(".")).collect::<Vec<_>>().join(" ")
                }
                Err(other) => other.to_string(),
            };
            assert_eq!(found, wrong, "{name}");
        }
    }

    #[test]
    fn the_audit_log_is_told_nothing_that_could_be_a_secret() {
        for (config, expected) in [
            (
                json!({"command": "npx", "args": ["--key", "s3cret"], "env": {"DEBUG": "s3cret"}}),
                json!({"command": "npx", "url": null}),
            ),
            (
                json!({"url": "https://mcp.example:8443/s3cret/a?k=s3cret", "headers": {"X-Team": "s3cret"}}),
                json!({"command": null, "url": "https://mcp.example:8443"}),
            ),
        ] {
            assert_eq!(said(&ServerSpec::read(&config, &[]).unwrap()), expected);
        }
    }
}
