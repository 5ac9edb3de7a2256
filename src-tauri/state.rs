//! State of the host while the app runs: handles only. The truth is the engine's (L8).

use crate::here::Here;
use crate::settings::SettingsFile;
use session_core::{Engine, EngineError, Feed, Notice};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64};
use tokio::sync::Notify;

/// The host's handles, shared by all commands.
pub(crate) struct Host {
    pub(crate) engine: Engine,
    /// The main window's feed.
    pub(crate) feed: Feed,
    pub(crate) settings: SettingsFile,
    /// The session server of this computer.
    pub(crate) here: Here,
    /// Signal that the window shows another session, or gains or loses the focus.
    pub(crate) screen_changed: Notify,
    /// Whether the page is pulling its feed right now: then it needs no wake-up event.
    pub(crate) pulling: AtomicBool,
    /// Number of pulls that have been answered.
    pub(crate) pulls: AtomicU64,
    /// Whether the person is being asked if the app is to quit although agents work.
    pub(crate) asked_to_quit: AtomicBool,
    /// Whether the person said that agents stop with the app, this time.
    pub(crate) stops_agents: AtomicBool,
    notices: Mutex<Vec<Notice>>,
}

impl Host {
    pub(crate) fn new(engine: Engine, settings: SettingsFile, here: Here) -> Self {
        let feed = engine.feed();
        Self {
            engine,
            feed,
            settings,
            here,
            screen_changed: Notify::new(),
            pulling: AtomicBool::new(false),
            pulls: AtomicU64::new(0),
            asked_to_quit: AtomicBool::new(false),
            stops_agents: AtomicBool::new(false),
            notices: Mutex::default(),
        }
    }

    /// Tells the person something, now and in a page that is loaded later.
    pub(crate) fn notice(&self, code: &str, message: impl Into<String>) {
        let notice = Notice { code: code.to_owned(), message: message.into() };
        tracing::warn!(code, "notice");
        self.notices.lock().expect("no notice panics").push(notice.clone());
        self.feed.notify(notice);
    }

    /// Notices that the person has been told since the start.
    pub(crate) fn notices(&self) -> Vec<Notice> {
        let mut notices = self.engine.notices();
        notices.extend(self.notices.lock().expect("no notice panics").iter().cloned());
        notices
    }

    /// The session that was open when the app was last used. An earlier version knew it by its id
    /// on the one server that there was.
    pub(crate) fn last_session(&self) -> Option<String> {
        self.engine.find_session(&self.settings.last_session()?).ok().flatten()
    }

    /// The session that the window shows.
    pub(crate) fn shown_session(&self) -> Option<String> {
        self.feed.shown()
    }

    /// Shows the first messages of the session in the window.
    pub(crate) fn show_start(&self, session: String) -> Result<(), EngineError> {
        self.feed.show_start(session)
    }

    /// Shows another session in the window: its end, or the stretch around a message.
    pub(crate) fn show(
        &self,
        session: Option<String>,
        around: Option<String>,
    ) -> Result<(), EngineError> {
        self.settings.set_last_session(session.as_deref());
        let shown = match (session, around) {
            (Some(session), Some(message)) => self.feed.show_around(session, message),
            (session, _) => self.feed.show(session),
        };
        self.screen_changed.notify_one();
        shown
    }
}
