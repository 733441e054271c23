//! Keeping the mirror true: hears what is published, compares what was missed, and pays what is owed.

use std::{sync::Arc, time::Duration};

use metrics::counter;
use tokio::time::sleep_until;

use super::{SharedTier, mirror::Question, stamp::Bulletin};
use crate::{
    model::Clock,
    store::{Heard, RedisError},
};

/// Time until the next attempt after one that failed.
const RETRY: Duration = Duration::from_millis(250);
/// How long a bulletin that must be on its way is waited for before the table is asked.
const ON_ITS_WAY: Duration = Duration::from_millis(100);
/// Least time between two comparisons: a Redis that forgets the table again and again must not be asked without end.
const BREATH: Duration = Duration::from_millis(100);

impl SharedTier {
    /// Follows the other nodes, for ever.
    pub(in crate::cache) async fn follow(self: Arc<Self>, clock: Clock, reconcile_every: Duration) {
        let mut ears = self.remote.listen();
        let mut due = clock.instant();
        let mut rested = due;
        loop {
            tokio::select! {
                heard = ears.heard() => if !self.take_in(&heard) {
                    due = rested.max(clock.instant());
                },
                () = self.mirror.behind() => due = rested.max(clock.instant()),
                () = self.ahead.notified() => due = due.min(rested.max(clock.instant() + ON_ITS_WAY)),
                () = sleep_until(due) => {
                    let pause = if self.reconcile().await { reconcile_every } else { RETRY };
                    due = clock.instant() + pause;
                    rested = clock.instant() + BREATH;
                }
            }
        }
    }

    /// False when the table must be asked.
    fn take_in(&self, heard: &Heard) -> bool {
        match heard {
            Heard::Live => {
                self.mirror.subscribed();
                false
            }
            Heard::Lost => {
                self.mirror.lost();
                true
            }
            // What cannot be read comes from another version; the table will tell.
            Heard::Message(message) => Bulletin::parse(message).is_some_and(|bulletin| self.mirror.hear(&bulletin)),
        }
    }

    /// Tells Redis what is owed and asks what was missed. False when that should be tried again soon.
    async fn reconcile(&self) -> bool {
        let question = self.mirror.question();
        let outcome = self.compare(&question).await;
        let label = match &outcome {
            Ok(true) => "live",
            Ok(false) => "blind",
            Err(error) => {
                self.mirror.unanswered(&question);
                tracing::debug!(%error, "cache cannot compare its revocations");
                "failed"
            }
        };
        counter!("tidegate_cache_reconciliations_total", "outcome" => label).increment(1);
        outcome.unwrap_or(false)
    }

    async fn compare(&self, question: &Question) -> Result<bool, RedisError> {
        if !question.owed.is_empty() {
            let stamp = self.remote.revoke(&question.owed).await?;
            self.mirror.repaid(question, &question.owed, stamp);
        }
        let table = self.remote.table(question.known).await?;
        Ok(self.mirror.reconcile(question, &table))
    }
}
