//! Results that are kept: of tools that say they only read, for as long as an operator permits.

use std::{borrow::Cow, sync::Arc, time::Duration};

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::{Fingerprint, Mcp, ToolResult, catalogue::Entry};
use crate::{
    cache::{Cache, CacheKey, CacheSettings, CacheValue, LoadLost, Loaded, Tags},
    events::canonical,
    model::{Chance, Clock, Principal},
};

/// Memory for results, in bytes.
const MOST_BYTES: u64 = 64 << 20;

/// Which result: of which configuration of a server, which definition of a tool, with which arguments, and for whom.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct ResultKey {
    server: Uuid,
    /// SHA-256: another configuration is another server.
    config: [u8; 32],
    fingerprint: Fingerprint,
    /// SHA-256, as arguments may be large, and are nobody's business.
    arguments: [u8; 32],
    /// Where the result is for one alone.
    subject: Option<Arc<str>>,
    kept: Duration,
}

impl CacheKey for ResultKey {
    fn shared_name(&self) -> Cow<'_, str> {
        let Self { server, config, fingerprint, arguments, subject, .. } = self;
        let [config, arguments] = [config, arguments].map(|hash| data_encoding::HEXLOWER.encode(hash));
        format!("{server}/{config}/{}/{arguments}/{}", fingerprint.as_str(), subject.as_deref().unwrap_or_default())
            .into()
    }
}

/// A result with its size.
#[derive(Debug, Clone)]
struct Kept(Arc<ToolResult>, u32);

impl CacheValue for Kept {
    fn weight(&self) -> u32 {
        self.1
    }
}

/// Why nothing was kept: nobody loads through this cache.
#[derive(Debug, Clone)]
struct Lost;

impl From<LoadLost> for Lost {
    fn from(_: LoadLost) -> Self {
        Self
    }
}

/// The results that are kept. Clones share everything.
#[derive(Debug, Clone)]
pub(super) struct Results(Cache<ResultKey, Kept, Lost>);

impl Results {
    pub(super) fn new(tags: &Tags, clock: Clock, chance: Chance) -> Self {
        Self(Cache::new("mcp_results", CacheSettings::exact(MOST_BYTES), tags, clock, chance))
    }

    pub(super) fn find(&self, key: &ResultKey) -> Option<Arc<ToolResult>> {
        self.0.peek(key).map(|hit| hit.value.0)
    }

    pub(super) fn keep(&self, key: &ResultKey, result: &Arc<ToolResult>) {
        let weight = u32::try_from(result.bytes().saturating_mul(2)).unwrap_or(u32::MAX);
        let loaded = Loaded::found(Kept(Arc::clone(result), weight), key.kept, Duration::ZERO);
        self.0.put_here(self.0.begin(), key, loaded);
    }
}

impl Mcp {
    /// Under which key a result is kept; nothing where it is not.
    pub(super) fn kept_result(
        &self,
        entry: &Entry,
        principal: &Principal,
        arguments: Option<&Map<String, Value>>,
    ) -> Option<ResultKey> {
        let only_reads = entry.tool.annotations.read_only_hint == Some(true);
        let host = self.hosts().find(entry.server_id)?;
        let spec = &host.record().spec;
        let seconds = spec.cache_seconds.get(&*entry.tool.name).copied().filter(|_| only_reads)?;
        let written = canonical(&Value::Object(arguments.cloned().unwrap_or_default()));
        Some(ResultKey {
            server: entry.server_id,
            config: host.config_hash(),
            fingerprint: entry.fingerprint.clone(),
            arguments: Sha256::digest(written).into(),
            subject: spec.cache_private.then(|| Arc::clone(&principal.subject)),
            kept: Duration::from_secs(seconds.into()),
        })
    }
}
