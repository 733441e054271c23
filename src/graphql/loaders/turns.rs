//! When a data loader's batch is complete: when nothing else can run without it.
//!
//! The library starts a batch after a timer of one millisecond, which every level of every request would wait for.
//! Here a batch waits until the execution has polled everything it can; then no further key can join. No timer, no
//! second task: loads run inside the request and end with it.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use async_graphql::runtime::Timer;
use futures_util::{
    FutureExt, StreamExt,
    future::{BoxFuture, ready},
    stream::FuturesUnordered,
    task::{FutureObj, Spawn, SpawnError},
};
use parking_lot::Mutex;

/// Holds the loads that an execution has asked for until it stands still.
#[derive(Clone, Default)]
pub(crate) struct Turns(Arc<Mutex<Vec<FutureObj<'static, ()>>>>);

impl Turns {
    /// Runs an execution and, whenever it stands still, the loads that it waits for.
    pub(crate) async fn drive<F: Future>(&self, execution: F) -> F::Output {
        let mut execution = pin!(execution);
        let mut loads = FuturesUnordered::new();
        poll_fn(|cx| {
            loop {
                if let Poll::Ready(output) = execution.as_mut().poll(cx) {
                    return Poll::Ready(output);
                }
                loads.extend(std::mem::take(&mut *self.0.lock()));
                match loads.poll_next_unpin(cx) {
                    // A load ended: the execution may go on.
                    Poll::Ready(Some(())) => {}
                    Poll::Ready(None) | Poll::Pending => return Poll::Pending,
                }
            }
        })
        .await
    }
}

impl Spawn for Turns {
    fn spawn_obj(&self, load: FutureObj<'static, ()>) -> Result<(), SpawnError> {
        self.0.lock().push(load);
        Ok(())
    }
}

/// A timer that does not wait: turns decide when a batch starts.
pub(crate) struct NoDelay;

impl Timer for NoDelay {
    fn delay(&self, _duration: Duration) -> BoxFuture<'static, ()> {
        ready(()).boxed()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use async_graphql::dataloader::{DataLoader, Loader};
    use futures_util::future::join_all;

    use super::*;

    #[derive(Clone, Default)]
    struct Batches(Arc<Mutex<Vec<usize>>>);

    impl Loader<u32> for Batches {
        type Value = u32;
        type Error = ();

        async fn load(&self, keys: &[u32]) -> Result<HashMap<u32, u32>, ()> {
            self.0.lock().push(keys.len());
            tokio::task::yield_now().await;
            Ok(keys.iter().map(|key| (*key, key * 2)).collect())
        }
    }

    #[tokio::test]
    async fn each_level_is_one_batch() {
        let (turns, batches) = (Turns::default(), Batches::default());
        let loader = DataLoader::new(batches.clone(), turns.clone(), NoDelay);
        let two_levels = |key: u32| {
            let loader = &loader;
            async move {
                let first = loader.load_one(key).await.unwrap().unwrap();
                loader.load_one(first + 1_000).await.unwrap().unwrap()
            }
        };
        let sums = turns.drive(join_all((0..100).map(two_levels))).await;
        assert_eq!(sums[3], (3 * 2 + 1_000) * 2);
        assert_eq!(*batches.0.lock(), [100, 100]);
    }
}
