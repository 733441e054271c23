//! Who ends the servers that we run when we are there no more to do it, as after `kill -9`.
//!
//! Most servers end when their input does, and some go on. So a shell in a group of its own is told through a pipe of every
//! group that begins and ends. When that pipe ends, so have we, and the shell ends what is left: it asks first, and then
//! makes them. There is none until there is something to watch over.

use std::{collections::BTreeSet, fmt::Write, io, process::Stdio, sync::Arc, time::Duration};

use rustix::process::Pid;
use tokio::{io::AsyncWriteExt, process::Command, sync::watch, time::sleep};

/// Group by group, as the numbers of the system.
type Groups = BTreeSet<i32>;

/// How long after a shell was lost another one is started.
const PAUSE: Duration = Duration::from_secs(1);

/// What the shell does. Nothing that is meant for us ends it: it goes when its input does.
const SCRIPT: &str = r#"
trap '' HUP INT TERM
groups=
while read -r what group; do
    left=
    for one in $groups; do [ "$one" = "$group" ] || left="$left $one"; done
    groups=$left
    [ "$what" = ended ] || groups="$groups $group"
done
[ -n "$groups" ] || exit 0
for one in $groups; do kill -s TERM -- "-$one"; done
sleep 2
for one in $groups; do kill -s KILL -- "-$one"; done
"#;

/// Knows of every group that runs. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Warden(Arc<watch::Sender<Groups>>);

impl Warden {
    /// Must be called inside a tokio runtime.
    pub(crate) fn start() -> Self {
        let (tell, groups) = watch::channel(Groups::new());
        tokio::spawn(keep(groups));
        Self(Arc::new(tell))
    }

    /// From now on this group does not outlive us.
    pub(super) fn began(&self, group: Pid) {
        self.0.send_if_modified(|groups| groups.insert(group.as_raw_nonzero().get()));
    }

    /// It has ended, and its number may become another's.
    pub(super) fn ended(&self, group: Pid) {
        self.0.send_if_modified(|groups| groups.remove(&group.as_raw_nonzero().get()));
    }
}

/// Has a shell watch for as long as there is something to watch over.
async fn keep(mut groups: watch::Receiver<Groups>) {
    while groups.wait_for(|groups| !groups.is_empty()).await.is_ok() {
        match watch_over(&mut groups).await {
            Ok(()) => return,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                tracing::warn!(
                    "there is no shell: an mcp server that ignores the end of its input would outlive a kill -9"
                );
                return;
            }
            Err(error) => {
                tracing::warn!(%error, "the shell that watches over mcp servers was lost; another is started");
            }
        }
        sleep(PAUSE).await;
    }
}

/// Tells a shell what begins and ends, until nobody can tell any more.
///
/// # Errors
/// There is no shell, or it has ended.
async fn watch_over(groups: &mut watch::Receiver<Groups>) -> io::Result<()> {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", SCRIPT]).current_dir("/").process_group(0);
    let mut shell = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let mut input = shell.stdin.take().ok_or(io::ErrorKind::BrokenPipe)?;
    let mut told = Groups::new();
    loop {
        let now = groups.borrow_and_update().clone();
        input.write_all(news(&told, &now).as_bytes()).await?;
        told = now;
        tokio::select! {
            changed = groups.changed() => if changed.is_err() { return Ok(()) },
            ended = shell.wait() => return ended.and(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }
}

/// What has changed, a line each.
fn news(told: &Groups, now: &Groups) -> String {
    let ended = told.difference(now).map(|group| ("ended", group));
    let began = now.difference(told).map(|group| ("began", group));
    ended.chain(began).fold(String::new(), |mut lines, (what, group)| {
        // Writing to a text does not fail.
        let _ = writeln!(lines, "{what} {group}");
        lines
    })
}

#[cfg(test)]
mod tests {
    use std::{
        os::unix::process::{CommandExt, ExitStatusExt},
        process::{Child, Command as Program},
    };

    use super::*;

    #[test]
    fn only_what_is_new_is_told() {
        let groups = |numbers: &[i32]| numbers.iter().copied().collect::<Groups>();
        for (told, now, expected) in [
            (&[][..], &[][..], ""),
            (&[], &[1, 2], "began 1\nbegan 2\n"),
            (&[1, 2], &[2, 3], "ended 1\nbegan 3\n"),
            (&[1], &[], "ended 1\n"),
        ] {
            assert_eq!(news(&groups(told), &groups(now)), expected, "{told:?} {now:?}");
        }
    }

    fn group(script: &str) -> (Child, Pid) {
        let child = Program::new("/bin/sh").args(["-c", script]).process_group(0).spawn().unwrap();
        let pid = Pid::from_child(&child);
        (child, pid)
    }

    #[tokio::test]
    async fn what_has_not_ended_ends_with_whoever_watches() {
        let warden = Warden::start();
        let (mut stubborn, mut over) = (group("trap '' TERM; while :; do sleep 1000; done"), group("exec sleep 1000"));
        warden.began(over.1);
        warden.began(stubborn.1);
        warden.ended(over.1);
        drop(warden);
        let ended = tokio::task::spawn_blocking(move || stubborn.0.wait().unwrap()).await.unwrap();
        assert_eq!(ended.signal(), Some(9));
        assert!(over.0.try_wait().unwrap().is_none(), "it was not watched any more");
        over.0.kill().unwrap();
        over.0.wait().unwrap();
    }
}
