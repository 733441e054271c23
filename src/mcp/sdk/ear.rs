//! What a server says without having been asked.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use parking_lot::Mutex;
use rmcp::{
    ClientHandler, RoleClient,
    model::{
        ClientCapabilities, ClientConfig, Implementation, ProgressNotificationParam, ProgressToken, ServerNotification,
    },
    service::NotificationContext,
};
use tokio::sync::{Notify, mpsc};

use super::Progress;

/// News of calls that are not yet known here; the first may be quicker than whoever has called.
const EARLY: usize = 64;

/// Hears what changed and how far calls have come. It promises servers nothing: they may ask for no model, no roots and no input.
#[derive(Debug, Clone, Default)]
pub(super) struct Ear(Arc<Heard>);

#[derive(Debug, Default)]
struct Heard {
    changed: Arc<Notify>,
    calls: Mutex<Calls>,
}

#[derive(Debug, Default)]
struct Calls {
    listening: HashMap<ProgressToken, mpsc::Sender<Progress>>,
    early: VecDeque<(ProgressToken, Progress)>,
}

impl Ear {
    /// Told whenever what the server offers may have changed.
    pub(super) fn changed(&self) -> Arc<Notify> {
        Arc::clone(&self.0.changed)
    }

    /// Passes on how far a call has come, what was heard already first. Who is slow misses some.
    pub(super) fn listen(&self, token: &ProgressToken, to: mpsc::Sender<Progress>) {
        let mut calls = self.0.calls.lock();
        for (_, progress) in calls.early.iter().filter(|(early, _)| early == token) {
            let _ = to.try_send(progress.clone());
        }
        calls.early.retain(|(early, _)| early != token);
        calls.listening.insert(token.clone(), to);
    }

    pub(super) fn forget(&self, token: &ProgressToken) {
        self.0.calls.lock().listening.remove(token);
    }

    pub(super) fn hear(&self, notification: &ServerNotification) {
        if let ServerNotification::ToolListChangedNotification(_)
        | ServerNotification::PromptListChangedNotification(_)
        | ServerNotification::ResourceListChangedNotification(_) = notification
        {
            self.0.changed.notify_one();
        }
    }
}

impl ClientHandler for Ear {
    fn get_info(&self) -> ClientConfig {
        let us = Implementation::new("tidegate", env!("CARGO_PKG_VERSION"));
        ClientConfig::new(ClientCapabilities::default(), us)
    }

    async fn on_progress(&self, said: ProgressNotificationParam, _: NotificationContext<RoleClient>) {
        let progress = Progress { done: said.progress, total: said.total, message: said.message.map(Into::into) };
        let mut calls = self.0.calls.lock();
        if let Some(to) = calls.listening.get(&said.progress_token) {
            let _ = to.try_send(progress);
            return;
        }
        if calls.early.len() == EARLY {
            calls.early.pop_front();
        }
        calls.early.push_back((said.progress_token, progress));
    }

    async fn on_tool_list_changed(&self, _: NotificationContext<RoleClient>) {
        self.0.changed.notify_one();
    }

    async fn on_prompt_list_changed(&self, _: NotificationContext<RoleClient>) {
        self.0.changed.notify_one();
    }

    async fn on_resource_list_changed(&self, _: NotificationContext<RoleClient>) {
        self.0.changed.notify_one();
    }
}
