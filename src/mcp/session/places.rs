//! How many processes may run, of all servers together.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

/// How long is waited for somebody to give way: as long as a process may take to end when it is asked to.
const PATIENCE: Duration = Duration::from_secs(3);

/// The places for processes. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Places {
    free: Arc<Semaphore>,
    /// Somebody waits for one.
    wanted: Arc<AtomicBool>,
}

impl Places {
    pub(crate) fn new(most: usize) -> Self {
        Self { free: Arc::new(Semaphore::new(most)), wanted: Arc::default() }
    }

    /// A place, for which another process may have to give way; nothing where none does.
    pub(super) async fn take(&self) -> Option<OwnedSemaphorePermit> {
        if let Ok(place) = Arc::clone(&self.free).try_acquire_owned() {
            return Some(place);
        }
        self.wanted.store(true, Ordering::Release);
        timeout(PATIENCE, Arc::clone(&self.free).acquire_owned()).await.ok()?.ok()
    }

    /// Whether somebody waits, to whom nobody has given way yet. Whoever asks does.
    pub(super) fn is_wanted(&self) -> bool {
        self.wanted.swap(false, Ordering::AcqRel)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_gives_way_to_one_who_waits() {
        let places = Places::new(1);
        let first = places.take().await.unwrap();
        assert!(!places.is_wanted());
        let waiting = tokio::spawn({
            let places = places.clone();
            async move { places.take().await }
        });
        tokio::task::yield_now().await;
        assert_eq!((places.is_wanted(), places.is_wanted()), (true, false));
        drop(first);
        let second = waiting.await.unwrap();
        assert!(second.is_some());
        assert!(places.take().await.is_none(), "nobody gives way");
    }
}
