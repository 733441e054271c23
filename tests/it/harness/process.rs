//! A server's process: started, stopped for a while, killed, and gone with the value that stands for it.

use std::{
    mem,
    process::{Child, Command},
};

use parking_lot::Mutex;
use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

/// What the operating system does with it.
#[derive(Default)]
enum State {
    Running(Child),
    Paused(Child),
    #[default]
    Gone,
}

/// None yet, or one that can be killed and replaced by the next.
#[derive(Default)]
pub(crate) struct Process(Mutex<State>);

impl Process {
    /// Starts it; returns its id.
    pub(crate) fn start(&self, command: &mut Command) -> u32 {
        let child = command.spawn();
        let child = child.unwrap_or_else(|error| panic!("scripts/install-test-tools.sh installs {command:?}: {error}"));
        let id = child.id();
        *self.0.lock() = State::Running(child);
        id
    }

    /// `SIGKILL`: it is gone, and its port refuses connections, when this returns.
    pub(crate) fn kill(&self) {
        match mem::take(&mut *self.0.lock()) {
            State::Running(mut child) | State::Paused(mut child) => {
                child.kill().expect("it is ours");
                child.wait().expect("it was killed");
            }
            State::Gone => {}
        }
    }

    /// `SIGSTOP`: connections stay and new ones are accepted by the system, but nothing is ever answered once this
    /// returns.
    pub(crate) fn pause(&self) {
        let mut state = self.0.lock();
        *state = match mem::take(&mut *state) {
            State::Running(child) => {
                signal(child.id(), "STOP");
                wait_until_stopped(child.id());
                State::Paused(child)
            }
            other => other,
        };
    }

    /// `SIGCONT`: answers what was asked meanwhile, and goes on.
    pub(crate) fn resume(&self) {
        let mut state = self.0.lock();
        *state = match mem::take(&mut *state) {
            State::Paused(child) => {
                signal(child.id(), "CONT");
                State::Running(child)
            }
            other => other,
        };
    }

    /// Any other signal, to what runs.
    pub(crate) fn signal(&self, name: &str) {
        if let State::Running(child) = &*self.0.lock() {
            signal(child.id(), name);
        }
    }

    pub(crate) fn is_paused(&self) -> bool {
        matches!(*self.0.lock(), State::Paused(_))
    }

    pub(crate) fn has_ended(&self) -> bool {
        match &mut *self.0.lock() {
            State::Running(child) | State::Paused(child) => child.try_wait().expect("it is ours").is_some(),
            State::Gone => true,
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Waits until no thread of this child runs any more: one that is on a processor when the signal is sent goes on until
/// it hears of it, and may well answer one more question.
fn wait_until_stopped(id: u32) {
    let pid = Pid::from_raw(id.try_into().expect("an id of a process")).expect("not zero");
    // One that has ended has stopped too. Who waits for its end is still to find it.
    let options = WaitIdOptions::STOPPED | WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
    waitid(WaitId::Pid(pid), options).expect("it is ours");
}

/// Sends a signal to the process of this id.
pub(crate) fn signal(id: u32, name: &str) {
    let status = Command::new("kill").args(["-s", name, &id.to_string()]).status();
    assert!(status.expect("kill is there").success());
}
