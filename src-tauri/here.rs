//! The session server of this computer, which runs in a process of its own (`host-link`).

use host_link::{AttachError, Attached, Starter, api, files};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tauri::Url;
use tokio::sync::{Mutex, Notify};

/// The session server of this computer, and the app's hold on the process that runs it.
pub(crate) struct Here {
    starter: Starter,
    held: Mutex<Option<Arc<Attached>>>,
    /// Signal that it is to be tried again now.
    again: Notify,
    /// The app ends: nothing is attached to any more.
    ended: AtomicBool,
}

impl Here {
    /// The server of the data folder; its program lies beside the app's.
    pub(crate) fn new(data: &Path) -> Self {
        let name = format!("threadkeep{}", std::env::consts::EXE_SUFFIX);
        let app = std::env::current_exe().unwrap_or_default();
        Self {
            starter: Starter::new(data, app.with_file_name(name)),
            held: Mutex::default(),
            again: Notify::new(),
            ended: AtomicBool::new(false),
        }
    }

    /// The process that runs it, which is started where it does not run.
    pub(crate) async fn attached(&self) -> Result<Arc<Attached>, AttachError> {
        let mut held = self.held.lock().await;
        if let Some(attached) = held.as_ref().filter(|attached| !attached.is_gone()) {
            return Ok(Arc::clone(attached));
        }
        let attached = Arc::new(self.starter.attach().await?);
        *held = Some(Arc::clone(&attached));
        Ok(attached)
    }

    /// The process that runs it, when the app is attached now.
    pub(crate) async fn held(&self) -> Option<Arc<Attached>> {
        self.held.lock().await.clone().filter(|attached| !attached.is_gone())
    }

    /// Number of runs of this computer's agents, as far as it is known now.
    pub(crate) fn running(&self) -> usize {
        let held = self.held.try_lock();
        held.ok().and_then(|held| Some(held.as_ref()?.hello().running)).unwrap_or(0)
    }

    /// Tries again what waits.
    pub(crate) fn retry(&self) {
        self.again.notify_one();
    }

    /// Waits until it is to be tried again.
    pub(crate) async fn again(&self) {
        self.again.notified().await;
    }

    /// Whether the app ends.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// Findings of the model agent about what the endpoint does not take, one sentence each.
    pub(crate) fn model_findings(&self, base_url: &Url, model: &str) -> Vec<&'static str> {
        session_server::model_findings(&files::server(self.starter.data()), base_url, model)
    }

    /// Lets the process go. It ends when nothing runs in it; at once when the person wants it so.
    pub(crate) async fn leave(&self, stops: bool) {
        self.ended.store(true, Ordering::Release);
        if let Some(attached) = self.held.lock().await.take()
            && stops
        {
            attached.stop(api::Stop::ForGood).await;
        }
    }
}
