//! Which document a request means: sent along, remembered by its hash, or on the list of trusted ones.

use std::{
    collections::HashMap,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use moka::sync::Cache;
use sha2::{Digest, Sha256};

use super::{ErrorCode, GraphqlRequest, PersistedQuery, error::Refusal};
use crate::config::GraphqlConfig;

type Hash = [u8; 32];

/// Why the trusted documents cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TrustedDocumentsError {
    /// The file cannot be read.
    #[error("cannot read the trusted documents in {path}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file is not a JSON object of hashes and documents.
    #[error("{path} is not a JSON object that maps hashes to documents")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Where it stops making sense.
        #[source]
        source: serde_json::Error,
    },
    /// A document is listed under a hash that is not its own.
    #[error("{path} lists a document under {hash}, which is not its SHA-256")]
    WrongHash {
        /// The file.
        path: PathBuf,
        /// The hash as given.
        hash: String,
    },
}

/// Finds documents.
#[derive(Clone)]
pub(crate) struct Documents {
    trusted: Arc<HashMap<Hash, Arc<str>>>,
    trusted_only: bool,
    /// `None` when clients may not register documents.
    registered: Option<Cache<Hash, Arc<str>>>,
}

impl Documents {
    pub(crate) fn new(config: &GraphqlConfig) -> Result<Self, TrustedDocumentsError> {
        let trusted = config.trusted_documents.as_deref().map(read).transpose()?.unwrap_or_default();
        let registered = (config.persisted_queries && !config.trusted_only).then(|| {
            let weigh = |_: &Hash, document: &Arc<str>| u32::try_from(document.len() + 128).unwrap_or(u32::MAX);
            Cache::builder().max_capacity(config.persisted_query_bytes).weigher(weigh).build()
        });
        Ok(Self { trusted: Arc::new(trusted), trusted_only: config.trusted_only, registered })
    }

    /// The documents of the list of trusted ones.
    pub(crate) fn trusted(&self) -> impl Iterator<Item = &Arc<str>> {
        self.trusted.values()
    }

    /// The document of a request.
    pub(crate) fn find(&self, request: &mut GraphqlRequest) -> Result<Arc<str>, Refusal> {
        let sent = request.query.take().filter(|query| !query.trim().is_empty());
        let document = match (&request.persisted, sent) {
            (Some(persisted), sent) => self.by_hash(persisted, sent)?,
            (None, Some(sent)) => Arc::from(sent),
            (None, None) => return Err(Refusal::new(ErrorCode::BadUserInput, "the request has no query")),
        };
        if self.trusted_only && !self.trusted.contains_key(&hash(&document)) {
            let message = "only trusted documents are served here";
            return Err(Refusal::new(ErrorCode::PersistedQueryNotSupported, message));
        }
        Ok(document)
    }

    fn by_hash(&self, persisted: &PersistedQuery, sent: Option<String>) -> Result<Arc<str>, Refusal> {
        if persisted.version != 1 {
            return Err(Refusal::new(ErrorCode::BadUserInput, "persistedQuery.version must be 1"));
        }
        let wanted = parse(&persisted.sha256).ok_or_else(|| {
            Refusal::new(ErrorCode::BadUserInput, "persistedQuery.sha256Hash must be 64 hexadecimal digits")
        })?;
        if let Some(trusted) = self.trusted.get(&wanted) {
            return Ok(Arc::clone(trusted));
        }
        let Some(registered) = &self.registered else {
            return match sent {
                // Refused with the same words later if it is not trusted.
                Some(sent) => Ok(sent.into()),
                // Apollo's words: clients look for them.
                None => Err(Refusal::new(ErrorCode::PersistedQueryNotSupported, "PersistedQueryNotSupported")),
            };
        };
        match sent {
            None => registered
                .get(&wanted)
                .ok_or_else(|| Refusal::new(ErrorCode::PersistedQueryNotFound, "PersistedQueryNotFound")),
            Some(sent) if hash(&sent) == wanted => {
                let document: Arc<str> = sent.into();
                registered.insert(wanted, Arc::clone(&document));
                Ok(document)
            }
            Some(_) => Err(Refusal::new(ErrorCode::BadUserInput, "provided sha does not match query")),
        }
    }
}

fn read(path: &Path) -> Result<HashMap<Hash, Arc<str>>, TrustedDocumentsError> {
    let owned = || path.to_owned();
    let text = fs::read(path).map_err(|source| TrustedDocumentsError::Unreadable { path: owned(), source })?;
    let listed: HashMap<String, Arc<str>> =
        serde_json::from_slice(&text).map_err(|source| TrustedDocumentsError::Malformed { path: owned(), source })?;
    let checked = listed.into_iter().map(|(name, document)| match parse(&name) {
        Some(named) if named == hash(&document) => Ok((named, document)),
        _ => Err(TrustedDocumentsError::WrongHash { path: owned(), hash: name }),
    });
    checked.collect()
}

fn hash(document: &str) -> Hash {
    Sha256::digest(document).into()
}

fn parse(text: &str) -> Option<Hash> {
    let mut hash = [0; 32];
    if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    for (byte, pair) in hash.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(hash)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    const DOCUMENT: &str = "{price(coin:\"bitcoin\"){amount}}";

    fn hex(document: &str) -> String {
        use std::fmt::Write as _;
        hash(document).iter().fold(String::new(), |mut text, byte| {
            write!(text, "{byte:02x}").unwrap();
            text
        })
    }

    fn find(documents: &Documents, query: Option<&str>, sha256: Option<&str>) -> Result<String, ErrorCode> {
        let persisted = sha256.map(|sha256| PersistedQuery { version: 1, sha256: sha256.to_owned() });
        let mut request = GraphqlRequest { query: query.map(str::to_owned), persisted, ..GraphqlRequest::default() };
        documents.find(&mut request).map(|found| found.to_string()).map_err(|refusal| refusal.code)
    }

    #[test]
    fn a_registered_document_is_found_by_its_hash() {
        let documents = Documents::new(&GraphqlConfig::defaults()).unwrap();
        let sha = hex(DOCUMENT);
        for (query, sha256, expected) in [
            (None, None, Err(ErrorCode::BadUserInput)),
            (Some("  "), None, Err(ErrorCode::BadUserInput)),
            (Some(DOCUMENT), None, Ok(DOCUMENT)),
            (None, Some(sha.as_str()), Err(ErrorCode::PersistedQueryNotFound)),
            (Some("{a}"), Some(sha.as_str()), Err(ErrorCode::BadUserInput)),
            (Some(DOCUMENT), Some(sha.as_str()), Ok(DOCUMENT)),
            (None, Some(sha.to_uppercase().as_str()), Ok(DOCUMENT)),
            (None, Some("12"), Err(ErrorCode::BadUserInput)),
            (None, Some("é".repeat(32).as_str()), Err(ErrorCode::BadUserInput)),
        ] {
            assert_eq!(find(&documents, query, sha256), expected.map(str::to_owned), "{query:?} {sha256:?}");
        }
    }

    #[test]
    fn where_only_trusted_documents_are_served_others_are_not() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        write!(file, "{{{:?}: {DOCUMENT:?}}}", hex(DOCUMENT)).unwrap();
        let config = GraphqlConfig {
            trusted_documents: Some(file.path().to_owned()),
            trusted_only: true,
            ..GraphqlConfig::defaults()
        };
        let documents = Documents::new(&config).unwrap();
        for (query, sha256, expected) in [
            (Some(DOCUMENT), None, Ok(DOCUMENT)),
            (None, Some(hex(DOCUMENT)), Ok(DOCUMENT)),
            (Some("{a}"), None, Err(ErrorCode::PersistedQueryNotSupported)),
            (Some("{a}"), Some(hex("{a}")), Err(ErrorCode::PersistedQueryNotSupported)),
            (None, Some(hex("{a}")), Err(ErrorCode::PersistedQueryNotSupported)),
        ] {
            assert_eq!(find(&documents, query, sha256.as_deref()), expected.map(str::to_owned), "{query:?}");
        }
    }

    #[test]
    fn a_list_that_lies_stops_the_start() {
        for content in ["{\"00\": \"{a}\"}".to_owned(), format!("{{{:?}: \"{{b}}\"}}", hex("{a}")), "[]".to_owned()] {
            let mut file = tempfile::NamedTempFile::new().unwrap();
            file.write_all(content.as_bytes()).unwrap();
            let config = GraphqlConfig { trusted_documents: Some(file.path().to_owned()), ..GraphqlConfig::defaults() };
            assert!(Documents::new(&config).is_err(), "{content}");
        }
    }
}
