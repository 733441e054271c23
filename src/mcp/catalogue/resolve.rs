//! Which tools there are for whom, and which one a name means.

use std::{collections::HashMap, sync::Arc};

use super::{
    entry::{CatalogueServer, Entry},
    names::QualifiedName,
    near::near,
};
use crate::{
    mcp::{McpError, permission::is_permitted},
    model::Principal,
};

/// As much of a name is repeated in an error.
const LONGEST_REPEATED: usize = 256;
/// As many servers with the same tool are named.
const MOST_NAMED: usize = 20;

/// All tools of all servers that may be asked. It is made anew whenever one of them changes, and never changed.
#[derive(Debug, Clone, Default)]
pub struct Catalogue {
    /// By qualified name.
    entries: Vec<Entry>,
    by_qualified: HashMap<Arc<str>, usize>,
    by_tool: HashMap<Arc<str>, Vec<usize>>,
}

/// What a tool is to somebody. Listing and calling both ask for it, so that what is listed is what can be called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Callable,
    /// Known, but waiting for approval.
    Held,
    /// As if it were not there.
    Hidden,
}

/// What `entry` is to somebody; without anybody, to every USER that there could be.
fn standing(entry: &Entry, principal: Option<&Principal>) -> Standing {
    match (is_permitted(&entry.permissions, &entry.tool.name, principal), entry.held) {
        (false, _) => Standing::Hidden,
        (true, true) => Standing::Held,
        (true, false) => Standing::Callable,
    }
}

impl Catalogue {
    /// Of these servers. A tool that has no name that means only it is left out.
    #[must_use]
    pub fn build(servers: impl IntoIterator<Item = CatalogueServer>) -> Self {
        let mut entries: Vec<Entry> = servers.into_iter().filter(|server| server.enabled).flat_map(entries).collect();
        entries.sort_by(|a, b| a.qualified.cmp(&b.qualified));
        entries.dedup_by(|a, b| a.qualified == b.qualified);
        let mut by_qualified = HashMap::with_capacity(entries.len());
        let mut by_tool: HashMap<_, Vec<_>> = HashMap::new();
        for (at, entry) in entries.iter().enumerate() {
            by_qualified.insert(Arc::clone(&entry.qualified), at);
            by_tool.entry(Arc::clone(&entry.tool.name)).or_default().push(at);
        }
        Self { entries, by_qualified, by_tool }
    }

    /// The tools that somebody may call, by their qualified names; without anybody, those that every USER may call.
    pub fn listed<'a>(&'a self, principal: Option<&'a Principal>) -> impl Iterator<Item = &'a Entry> {
        self.entries.iter().filter(move |entry| standing(entry, principal) == Standing::Callable)
    }

    /// The same, with those that wait for approval.
    pub fn all_for<'a>(&'a self, principal: Option<&'a Principal>) -> impl Iterator<Item = &'a Entry> {
        self.entries.iter().filter(move |entry| standing(entry, principal) != Standing::Hidden)
    }

    /// The tool that somebody means: by its qualified name, or by its own where only one server has it.
    ///
    /// A text that could be a qualified name never means a tool that calls itself so: a server could otherwise catch the calls
    /// of another one that is gone for a while.
    ///
    /// # Errors
    /// There is none, there are several, or it waits for approval. What may not be called is not there: the error is the same.
    pub fn resolve(&self, text: &str, principal: Option<&Principal>) -> Result<&Entry, McpError> {
        let entry = match QualifiedName::parse(text) {
            Some(_) => self.by_qualified.get(text).map(|at| &self.entries[*at]),
            None => self.only_one(text, principal)?,
        };
        match entry.map(|entry| (standing(entry, principal), entry)) {
            Some((Standing::Callable, entry)) => Ok(entry),
            Some((Standing::Held, entry)) => Err(McpError::NeedsApproval(Arc::clone(&entry.qualified))),
            Some((Standing::Hidden, _)) | None => Err(self.unknown(text, principal)),
        }
    }

    /// Of the tools of this name that somebody may know of, the only one. One that waits counts, as it would otherwise depend on
    /// approvals which server is asked.
    fn only_one(&self, tool: &str, principal: Option<&Principal>) -> Result<Option<&Entry>, McpError> {
        let same = self.by_tool.get(tool).into_iter().flatten().map(|at| &self.entries[*at]);
        let mut known = same.filter(|entry| standing(entry, principal) != Standing::Hidden);
        let first = known.next();
        let others: Vec<_> = known.take(MOST_NAMED - 1).collect();
        if others.is_empty() {
            return Ok(first);
        }
        let candidates = first.into_iter().chain(others).map(|entry| entry.qualified.to_string()).collect();
        Err(McpError::Ambiguous { name: shortened(tool), candidates })
    }

    fn unknown(&self, text: &str, principal: Option<&Principal>) -> McpError {
        let known = self.all_for(principal).map(|entry| (&*entry.qualified, &*entry.tool.name));
        McpError::NoTool { name: shortened(text), candidates: near(text, known) }
    }
}

fn entries(server: CatalogueServer) -> impl Iterator<Item = Entry> {
    server.tools.into_iter().filter_map(move |listed| {
        let name = QualifiedName { server: &server.name, tool: &listed.tool.name };
        let qualified: Arc<str> = name.to_string().into();
        (QualifiedName::parse(&qualified) == Some(name)).then(|| Entry {
            server: Arc::clone(&server.name),
            server_id: server.id,
            fingerprint: listed.fingerprint,
            qualified: Arc::clone(&qualified),
            held: listed.held,
            changed_at: listed.changed_at,
            previous: listed.previous,
            permissions: Arc::clone(&server.permissions),
            tool: Arc::clone(&listed.tool),
        })
    })
}

fn shortened(text: &str) -> String {
    text.chars().take(LONGEST_REPEATED).collect()
}
