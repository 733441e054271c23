//! The loop that looks after a server.

use std::{sync::Arc, time::Duration};

use chrono::TimeDelta;
use tokio::{
    sync::{mpsc, oneshot},
    time::sleep,
};

use super::{Host, HostHealth, HostNews, HostStatus};
use crate::{
    mcp::{Checked, McpError, Offer, session::Session},
    model::{Instant, Timestamp},
    resilience::{CallError, CallKind},
};

/// How soon after a failure is looked again; twice as long after each further one.
const SOON: Duration = Duration::from_millis(500);
/// Changes that come close together are one.
const SETTLE: Duration = Duration::from_millis(50);
/// So often must a server say that it has no tools any more before it is believed.
const CONFIRMATIONS: u32 = 3;
/// How long a node leaves it at what another one has found, where it has found otherwise and said so.
const CONTEST: TimeDelta = TimeDelta::minutes(10);
/// How often it is looked whether the registry still has what the server offers.
const RECONCILE: Duration = Duration::from_mins(10);

/// What the last look has left to be done.
#[derive(Default)]
struct Kept {
    /// The session that the offer is of.
    of: Option<Arc<Session>>,
    /// How often it has said that there is nothing where there was something.
    empties: u32,
    /// What this node has recorded last: that the server is up, or down.
    recorded: Option<bool>,
    /// When the registry was last seen to have what the server offers.
    reconciled: Option<Instant>,
}

pub(super) async fn tend(host: Host, mut asked: mpsc::Receiver<oneshot::Sender<HostHealth>>) {
    let (mut kept, mut waiting) = (Kept::default(), Vec::new());
    loop {
        look(&host, &mut kept, !waiting.is_empty()).await;
        for tell in waiting.drain(..) {
            let _: Result<(), HostHealth> = oneshot::Sender::send(tell, host.health());
        }
        waiting.extend(wait(&host, &kept, &mut asked).await);
        waiting.extend(std::iter::from_fn(|| asked.try_recv().ok()));
    }
}

/// Waits until it is time to look, or somebody asks for it.
async fn wait(
    host: &Host,
    kept: &Kept,
    asked: &mut mpsc::Receiver<oneshot::Sender<HostHealth>>,
) -> Option<oneshot::Sender<HostHealth>> {
    let changed = kept.of.as_ref().filter(|session| !session.is_over()).map(|session| session.changed());
    let changed = async {
        match changed {
            Some(changed) => {
                changed.notified().await;
                sleep(SETTLE).await;
            }
            None => std::future::pending().await,
        }
    };
    let died = async {
        match &host.0.way {
            Ok(pool) => pool.died().await,
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        tell = asked.recv() => tell,
        () = changed => None,
        () = died => None,
        () = sleep(pause(host, kept)) => None,
    }
}

fn pause(host: &Host, kept: &Kept) -> Duration {
    let usual = Duration::from_secs(host.0.parts.config.health_seconds);
    let health = host.0.health.lock();
    let soon = if kept.empties > 0 {
        SOON
    } else if health.is_open() {
        SOON.saturating_mul(1 << health.failures().saturating_sub(1).min(10))
    } else {
        usual
    };
    drop(health);
    host.0.parts.chance.spread(soon.min(usual), 0.1)
}

async fn look(host: &Host, kept: &mut Kept, is_asked: bool) {
    if !is_asked && is_resting(host, kept) {
        return;
    }
    match contact(host.clone()).await {
        Ok(session) => {
            host.0.health.lock().learn(session.facts());
            // It is up when it is known what it offers.
            let refreshed = refresh(host, kept, &session, is_asked).await;
            let now = host.0.parts.clock.now();
            host.take_in(|health| {
                let has_changed = health.note(refreshed.as_ref().map(drop), now);
                if let Ok(Err(error)) = &refreshed {
                    health.complain(&format!("what it offers cannot be kept: {error}"));
                }
                has_changed
            });
            record(host, kept, true, session.facts().version.as_deref(), None).await;
        }
        Err(CallError::Saturated) => {
            let what = "there is no place to ask it: mcp.max_processes or mcp.max_concurrent_calls are in use";
            host.take_in(|health| {
                health.complain(what);
                false
            });
        }
        // That the breaker is open says nothing new of the server.
        Err(error) if !error.is_failure() => {}
        Err(error) => {
            host.note(Err(&error));
            let HostHealth { status, error, .. } = host.health();
            if status == HostStatus::Down {
                record(host, kept, false, None, error.as_deref()).await;
            }
        }
    }
}

/// Its process was ended as nobody used it: to look would start it again.
fn is_resting(host: &Host, kept: &Kept) -> bool {
    let has_session = host.0.way.as_ref().is_ok_and(|pool| pool.count() > 0);
    let was_ended = kept.of.as_ref().is_some_and(|session| session.was_ended());
    was_ended && !has_session && !host.0.health.lock().is_open()
}

async fn contact(host: Host) -> Result<Arc<Session>, CallError> {
    let policy = host.0.policy.clone();
    policy.call(CallKind::Once, move || probe(host.clone())).await
}

async fn probe(host: Host) -> Result<Arc<Session>, CallError> {
    let session = host.house().await?;
    session.probe(host.0.deadline).await?;
    Ok(session)
}

/// Asks what the server offers, and keeps it where it is to be believed. The inner result is that of keeping it.
async fn refresh(
    host: &Host,
    kept: &mut Kept,
    session: &Arc<Session>,
    is_asked: bool,
) -> Result<Result<(), McpError>, CallError> {
    let offer = session.offer(host.0.deadline).await?;
    kept.of = Some(Arc::clone(session));
    let known = host.offer();
    let had_tools = !known.tools.is_empty() || !host.record().tools.is_empty();
    if offer.tools.is_empty() && had_tools && kept.empties + 1 < CONFIRMATIONS {
        kept.empties += 1;
        return Ok(Ok(()));
    }
    kept.empties = 0;
    let now = host.0.parts.clock.instant();
    let is_news = *known != offer;
    // Another node, or an earlier configuration, may have written something else meanwhile.
    let is_due = kept.reconciled.is_none_or(|last| now.saturating_duration_since(last) >= RECONCILE);
    if !is_news && !is_due && !is_asked {
        return Ok(Ok(()));
    }
    // What is new is looked at once more at the next look.
    kept.reconciled = (!is_news).then_some(now);
    Ok(keep(host, offer, is_news).await)
}

async fn keep(host: &Host, offer: Offer, is_news: bool) -> Result<(), McpError> {
    let record = host.record();
    match host.0.parts.registry.record_tools(record.id, &offer.tools).await {
        Ok(news) => {
            *host.0.offer.write() = Arc::new(offer);
            if is_news || !news.is_empty() {
                host.tell(HostNews::Offer(record));
            }
            Ok(())
        }
        // It is tried again at the next look, as the offer is not kept.
        Err(error) => {
            tracing::warn!(server = &*record.name, %error, "what an mcp server offers was not recorded");
            Err(error)
        }
    }
}

async fn record(host: &Host, kept: &mut Kept, up: bool, version: Option<&str>, error: Option<&str>) {
    let record = host.record();
    if is_contested(record.checked.as_ref(), kept.recorded, up, host.0.parts.clock.now()) {
        return;
    }
    match host.0.parts.registry.record_check(record.id, up, version, error).await {
        Ok(()) => kept.recorded = Some(up),
        Err(error) => tracing::debug!(server = &*record.name, %error, "the health of an mcp server was not recorded"),
    }
}

/// Another node has found the opposite of what this one has recorded already. The two may well both be right: to say it again
/// at every look would fill the log.
fn is_contested(known: Option<&Checked>, recorded: Option<bool>, up: bool, now: Timestamp) -> bool {
    known.is_some_and(|known| recorded == Some(up) && known.up != up && now.signed_duration_since(known.at) < CONTEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_another_node_has_found_is_contradicted_once_and_then_now_and_then() {
        let now = Timestamp::UNIX_EPOCH + TimeDelta::days(1);
        let (just_now, before) = (now - TimeDelta::seconds(1), now - CONTEST);
        for (known, recorded, up, expected) in [
            (None, None, true, false),
            (None, Some(true), true, false),
            (Some((false, just_now)), None, true, false),
            (Some((false, just_now)), Some(false), true, false),
            (Some((false, just_now)), Some(true), true, true),
            (Some((true, just_now)), Some(false), false, true),
            (Some((true, just_now)), Some(true), true, false),
            (Some((false, before)), Some(true), true, false),
        ] {
            let checked = known.map(|(up, at)| Checked { up, error: None, at });
            assert_eq!(is_contested(checked.as_ref(), recorded, up, now), expected, "{known:?} {recorded:?} {up}");
        }
    }
}
