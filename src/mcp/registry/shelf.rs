//! The servers as this node knows them: what is asked on every call, without a database.

use std::{collections::HashMap, sync::Arc};

use parking_lot::Mutex;
use tokio::sync::watch;
use uuid::Uuid;

use super::record::ServerRecord;

/// All servers, by their names.
pub(super) type Servers = Arc<Vec<Arc<ServerRecord>>>;

/// What was read of one stream. Of servers that are not shown the version is kept all the same, so that whoever was slow to
/// read does not bring them back.
#[derive(Debug, Clone)]
pub(super) struct Read {
    pub(super) id: Uuid,
    pub(super) version: u64,
    pub(super) record: Option<Arc<ServerRecord>>,
}

/// Servers, each as it was at the newest version that was read.
#[derive(Debug)]
pub(super) struct Shelf {
    read: Mutex<HashMap<Uuid, Read>>,
    shown: watch::Sender<Servers>,
}

impl Shelf {
    pub(super) fn new() -> Self {
        Self { read: Mutex::default(), shown: watch::Sender::new(Servers::default()) }
    }

    /// Shows what was read, all of it at once, where it is newer.
    pub(super) fn put(&self, found: impl IntoIterator<Item = Read>) {
        let mut read = self.read.lock();
        let mut is_news = false;
        for new in found {
            if read.get(&new.id).is_none_or(|known| known.version < new.version) {
                read.insert(new.id, new);
                is_news = true;
            }
        }
        if is_news {
            self.show(&read);
        }
    }

    /// Shows this and nothing else: another log has taken the place of the one that was read.
    pub(super) fn replace(&self, found: impl IntoIterator<Item = Read>) {
        let mut read = self.read.lock();
        *read = found.into_iter().map(|each| (each.id, each)).collect();
        self.show(&read);
    }

    /// Up to which version a server was read.
    pub(super) fn version(&self, id: Uuid) -> u64 {
        self.read.lock().get(&id).map_or(0, |read| read.version)
    }

    pub(super) fn find(&self, id: Uuid) -> Option<Arc<ServerRecord>> {
        self.read.lock().get(&id).and_then(|read| read.record.clone())
    }

    pub(super) fn by_name(&self, name: &str) -> Option<Arc<ServerRecord>> {
        let servers = self.servers();
        let at = servers.binary_search_by(|record| (*record.name).cmp(name)).ok()?;
        servers.get(at).cloned()
    }

    pub(super) fn servers(&self) -> Servers {
        Arc::clone(&self.shown.borrow())
    }

    pub(super) fn changes(&self) -> watch::Receiver<Servers> {
        self.shown.subscribe()
    }

    fn show(&self, read: &HashMap<Uuid, Read>) {
        let mut servers: Vec<_> = read.values().filter_map(|read| read.record.clone()).collect();
        servers.sort_by(|one, other| one.name.cmp(&other.name));
        self.shown.send_replace(Arc::new(servers));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        mcp::{ServerSpec, registry::server::ServerSource},
        model::Timestamp,
    };

    fn read(id: u128, version: u64, name: Option<&str>) -> Read {
        let id = Uuid::from_u128(id);
        let record = name.map(|name| {
            Arc::new(ServerRecord {
                id,
                name: name.into(),
                spec: Arc::new(ServerSpec::default()),
                enabled: true,
                source: ServerSource::Registered,
                version,
                server_version: None,
                checked: None,
                created_at: Timestamp::UNIX_EPOCH,
                updated_at: Timestamp::UNIX_EPOCH,
                tools: Arc::default(),
            })
        });
        Read { id, version, record }
    }

    fn names(shelf: &Shelf) -> String {
        shelf.servers().iter().map(|record| format!("{}{} ", record.name, record.version)).collect::<Vec<_>>().concat()
    }

    #[test]
    fn the_newest_version_is_shown_in_whichever_order_it_was_read() {
        let shelf = Shelf::new();
        for (reads, expected) in [
            (vec![read(1, 1, Some("b"))], "b1 "),
            (vec![read(2, 3, Some("a")), read(1, 4, Some("b"))], "a3 b4 "),
            (vec![read(1, 2, Some("b"))], "a3 b4 "),
            (vec![read(2, 5, None)], "b4 "),
            (vec![read(2, 4, Some("a"))], "b4 "),
            // In one step, so that nobody sees two of one name.
            (vec![read(1, 5, None), read(3, 1, Some("b"))], "b1 "),
        ] {
            shelf.put(reads.clone());
            assert_eq!(names(&shelf), expected, "{reads:?}");
        }
        assert_eq!((shelf.version(Uuid::from_u128(2)), shelf.version(Uuid::from_u128(9))), (5, 0));
        assert_eq!(shelf.by_name("b").unwrap().id, Uuid::from_u128(3));
        assert!(shelf.by_name("a").is_none() && shelf.find(Uuid::from_u128(2)).is_none());
        shelf.replace([read(2, 1, Some("a"))]);
        assert_eq!(names(&shelf), "a1 ");
    }

    #[test]
    fn whoever_waits_for_changes_hears_of_news_only() {
        let shelf = Shelf::new();
        let mut changes = shelf.changes();
        for (version, is_news) in [(1, true), (1, false), (2, true)] {
            shelf.put([read(1, version, Some("a"))]);
            assert_eq!(changes.has_changed().unwrap(), is_news, "{version}");
            changes.borrow_and_update();
        }
    }
}
