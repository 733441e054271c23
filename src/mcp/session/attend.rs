//! Whoever attends a session: notices its death at once, ends it when nobody uses it, and never leaves before it has ended.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use metrics::{counter, gauge};
use tokio::time::sleep;

use super::{Session, SessionKey, pool::Inner};

/// How often a connection is looked at that has no process to wait for.
const LOOK: Duration = Duration::from_millis(200);

/// A session that was not used for so long gives way where all places for processes are taken.
const RESTED: Duration = Duration::from_millis(500);

/// Why a session ends.
enum End {
    /// By itself.
    Died,
    /// Nobody has used it for long, or it has given way to another one.
    Idle,
    Stopped,
}

pub(super) async fn attend(pool: Arc<Inner>, key: SessionKey, session: Arc<Session>) {
    let server = pool.parts.name.to_string();
    let running = gauge!("tidegate_mcp_sessions", "server" => server.clone());
    running.increment(1.0);
    let end = tokio::select! {
        () = over(&session) => End::Died,
        () = unused(&pool, &key, &session) => End::Idle,
        () = pool.parts.stop.cancelled() => End::Stopped,
    };
    pool.give_up(&key, &session);
    let reason = match end {
        End::Died => {
            let why = session.why_over().unwrap_or_else(|| "it has ended".into());
            pool.has_died(&session, &why);
            "died"
        }
        End::Idle => {
            session.ended_by_us.store(true, Ordering::Release);
            // Whoever had it in hand already is let finish.
            while !session.is_unused() && !session.is_over() {
                sleep(LOOK).await;
            }
            "idle"
        }
        End::Stopped => "stopped",
    };
    session.end().await;
    running.decrement(1.0);
    counter!("tidegate_mcp_session_ends_total", "server" => server, "reason" => reason).increment(1);
}

async fn over(session: &Session) {
    let listening = async {
        // A server that does not tell of changes is looked at now and then.
        let _ = session.link.listen().await;
        std::future::pending::<()>().await;
    };
    let closed = async {
        while !session.link.is_closed() {
            sleep(LOOK).await;
        }
    };
    let ended = async {
        match &session.process {
            Some(process) => drop(process.ended().await),
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = listening => {}
        () = closed => {}
        () = ended => {}
    }
}

async fn unused(pool: &Inner, key: &SessionKey, session: &Arc<Session>) {
    let idle = pool.parts.idle;
    while pool.holds(key, session) {
        let since = pool.parts.clock.instant().saturating_duration_since(session.idle_since());
        if session.is_unused() && since >= idle && !pool.keeps(key) {
            return;
        }
        let gives_way = matches!(key, SessionKey::Subject(_)) && session.is_unused() && since >= RESTED;
        if gives_way && pool.parts.places.is_wanted() {
            return;
        }
        sleep(idle.saturating_sub(since).clamp(LOOK, Duration::from_secs(1))).await;
    }
}
