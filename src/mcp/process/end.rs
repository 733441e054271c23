//! The end of a process and its group.

use std::{os::unix::process::ExitStatusExt, process::ExitStatus, sync::Arc, time::Duration};

use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};
use tokio::{
    process::Child,
    sync::watch,
    time::{sleep, timeout},
};

use super::{StderrTail, Warden};

/// How long the last words of a process are waited for, once it has ended: what it started may hold the pipe.
const LAST_WORDS: Duration = Duration::from_millis(200);
/// How often is looked whether a group is gone that was made to end.
const LOOK: Duration = Duration::from_millis(2);

/// Waits for the end of a process, ends what is left of its group, and tells how it ended.
pub(super) async fn attend(
    mut child: Child,
    group: Pid,
    stderr: StderrTail,
    tell: watch::Sender<Option<Arc<str>>>,
    warden: Warden,
) {
    let status = child.wait().await;
    // What it has started would live on without anybody who knows of it.
    signal(group, Signal::KILL);
    let _ = timeout(LAST_WORDS, gone(group)).await;
    warden.ended(group);
    let _ = timeout(LAST_WORDS, stderr.finished()).await;
    let how = status.map_or_else(|error| format!("was lost: {error}"), words);
    tell.send_replace(Some(how.into()));
}

/// Waits until nothing of a group is left. What has ended and nobody has waited for counts as left.
async fn gone(group: Pid) {
    while test_kill_process_group(group).is_ok() {
        sleep(LOOK).await;
    }
}

/// Asks a group to end, after a while makes it, and waits until the process has ended.
pub(super) async fn end(group: Pid, ended: watch::Receiver<Option<Arc<str>>>, grace: Duration) {
    if timeout(grace, told(ended.clone())).await.is_ok() {
        return;
    }
    signal(group, Signal::TERM);
    if timeout(grace, told(ended.clone())).await.is_ok() {
        return;
    }
    signal(group, Signal::KILL);
    told(ended).await;
}

/// How it ended, as soon as it has.
pub(super) async fn told(mut ended: watch::Receiver<Option<Arc<str>>>) -> Arc<str> {
    let told = ended.wait_for(Option::is_some).await.ok().and_then(|told| told.clone());
    // Whoever attends it tells before it goes, unless the runtime ends.
    told.unwrap_or_else(|| "was left".into())
}

fn signal(group: Pid, signal: Signal) {
    // A group that is gone needs no signal.
    let _ = kill_process_group(group, signal);
}

fn words(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exited with status {code}"),
        (None, Some(signal)) => format!("was ended by signal {signal}"),
        (None, None) => "ended".to_owned(),
    }
}
