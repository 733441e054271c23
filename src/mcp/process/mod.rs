//! Servers that we run: a process in a group of its own, spoken to through pipes.
//!
//! Owns the start with a chosen environment and limits, the end of the whole group, also where we end first, and the last
//! lines of what the process writes to its standard error, the only place that says why it does not start. It knows nothing
//! of MCP.

mod bounded;
mod end;
mod stderr;
mod warden;

use std::{ffi::OsString, path::PathBuf, process::Stdio, sync::Arc, time::Duration};

use rustix::process::{Pid, Resource, Rlimit};
use tokio::{
    process::{ChildStdin, ChildStdout, Command},
    sync::watch,
};

pub(super) use self::{bounded::Bounded, stderr::StderrTail, warden::Warden};

use crate::model::Redactor;

/// Files that a process may have open.
const MOST_FILES: u64 = 4_096;

/// What is to be run.
#[derive(Debug, Clone)]
pub(super) struct ProcessPlan {
    pub(super) program: String,
    pub(super) arguments: Vec<String>,
    /// All that it finds in its environment.
    pub(super) environment: Vec<(String, OsString)>,
    pub(super) folder: Option<PathBuf>,
    /// Of its environment, what it must not say again.
    pub(super) secrets: Redactor,
    /// Most memory for data, in bytes.
    pub(super) memory: Option<u64>,
}

/// A process that runs, or has ended.
#[derive(Debug, Clone)]
pub(super) struct ServerProcess {
    group: Pid,
    /// How it ended, once it has.
    ended: watch::Receiver<Option<Arc<str>>>,
    stderr: StderrTail,
}

/// What one speaks to it through.
#[derive(Debug)]
pub(super) struct Pipes {
    pub(super) input: ChildStdin,
    pub(super) output: ChildStdout,
}

impl ServerProcess {
    /// Starts it. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// A program that is not there, or cannot be run.
    pub(super) fn start(plan: &ProcessPlan, warden: &Warden) -> std::io::Result<(Self, Pipes)> {
        let mut command = Command::new(&plan.program);
        command.args(&plan.arguments).env_clear().envs(plan.environment.iter().map(|(name, value)| (name, value)));
        if let Some(folder) = &plan.folder {
            command.current_dir(folder);
        }
        // A group of its own: what it starts in turn ends with it, and a Ctrl-C in our terminal is not for it.
        command.process_group(0).kill_on_drop(true);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        let group = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        let group = group.ok_or_else(|| std::io::Error::other("the process was gone before it began"))?;
        warden.began(group);
        limit(group, plan.memory);
        let (input, output, errors) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(input), Some(output), Some(errors)) = (input, output, errors) else {
            warden.ended(group);
            return Err(std::io::Error::other("the process has no pipes"));
        };
        let stderr = StderrTail::read(errors, plan.secrets.clone());
        let (tell, ended) = watch::channel(None);
        tokio::spawn(end::attend(child, group, stderr.clone(), tell, warden.clone()));
        Ok((Self { group, ended, stderr }, Pipes { input, output }))
    }

    /// Ends it and everything in its group, and waits for that. It may end by itself first: its input is closed, as the
    /// other end of it is gone.
    pub(super) async fn end(&self, grace: Duration) {
        end::end(self.group, self.ended.clone(), grace).await;
    }

    /// Waits until it has ended, and says how.
    pub(super) async fn ended(&self) -> Arc<str> {
        end::told(self.ended.clone()).await
    }

    /// How it ended, if it has.
    pub(super) fn end_reason(&self) -> Option<Arc<str>> {
        self.ended.borrow().clone()
    }

    /// The last lines of what it has written to its standard error.
    pub(super) fn stderr(&self) -> &StderrTail {
        &self.stderr
    }
}

/// Sets limits that hold for the process and what it starts. Where the system knows none, none are set.
#[cfg(target_os = "linux")]
fn limit(process: Pid, memory: Option<u64>) {
    let both = |most: u64| Rlimit { current: Some(most), maximum: Some(most) };
    let limits = [(Resource::Core, Some(0)), (Resource::Nofile, Some(MOST_FILES)), (Resource::Data, memory)];
    for (resource, most) in limits {
        if let Some(most) = most
            && let Err(error) = rustix::process::prlimit(Some(process), resource, both(most))
        {
            // It may be gone already, which is told in another way.
            tracing::debug!(%error, ?resource, "a limit of a server's process was not set");
        }
    }
}

#[cfg(not(target_os = "linux"))]
fn limit(_process: Pid, _memory: Option<u64>) {}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    fn start(plan: &ProcessPlan) -> std::io::Result<(ServerProcess, Pipes)> {
        ServerProcess::start(plan, &Warden::start())
    }

    fn shell(script: &str) -> ProcessPlan {
        ProcessPlan {
            program: "/bin/sh".to_owned(),
            arguments: vec!["-c".to_owned(), script.to_owned()],
            environment: vec![("PATH".to_owned(), "/usr/bin:/bin".into()), ("A".to_owned(), "b".into())],
            folder: None,
            secrets: Redactor::default(),
            memory: None,
        }
    }

    #[tokio::test]
    async fn it_is_spoken_to_and_given_what_it_is_meant_to_have() {
        let (process, mut pipes) = start(&shell("read line; echo \"$line $A $HOME\"; ulimit -c")).unwrap();
        pipes.input.write_all(b"hello\n").await.unwrap();
        let mut said = String::new();
        pipes.output.read_to_string(&mut said).await.unwrap();
        assert_eq!(said, "hello b \n0\n");
        assert_eq!(&*process.ended().await, "exited with status 0");
    }

    #[tokio::test]
    async fn how_it_ended_is_told_with_its_last_words() {
        let (process, _pipes) = start(&shell("echo 'no such module' >&2; exit 3")).unwrap();
        assert_eq!(&*process.ended().await, "exited with status 3");
        assert_eq!(process.stderr().lines(), ["no such module"]);
        let missing = start(&ProcessPlan { program: "/no/such/program".to_owned(), ..shell("") });
        assert_eq!(missing.unwrap_err().kind(), std::io::ErrorKind::NotFound);
    }

    /// Those of a group that still run; the dead that nobody has buried yet are not among them.
    fn living(group: Pid) -> usize {
        let stat = |entry: std::fs::DirEntry| std::fs::read_to_string(entry.path().join("stat")).ok();
        let stats = std::fs::read_dir("/proc").unwrap().filter_map(|entry| stat(entry.ok()?));
        let lives = |stat: &String| {
            let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
            fields[0] != "Z" && fields[2] == group.as_raw_nonzero().to_string()
        };
        stats.filter(lives).count()
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn the_whole_group_ends_also_where_nobody_listens() {
        for script in [
            "cat",
            "sleep 1000 & wait",
            "trap '' TERM; sleep 1000 & while true; do sleep 1000; done",
            "trap '' TERM; (trap '' TERM; sleep 1000) & exit 0",
        ] {
            let (process, pipes) = start(&shell(script)).unwrap();
            drop(pipes);
            process.end(Duration::from_millis(100)).await;
            assert_eq!(living(process.group), 0, "{script}");
        }
    }
}
