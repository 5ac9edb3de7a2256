//! Signs of life that are in no stream: who follows a session's stream, or did something in it.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// Signs that are remembered at least; there may be twice as many.
const REMEMBERED: usize = 10_000;

/// When actors last gave a sign of life that is in no stream, by session and actor.
#[derive(Default)]
pub(crate) struct Signs(Mutex<Remembered>);

#[derive(Default)]
struct Remembered {
    new: HashMap<(String, String), Instant>,
    old: HashMap<(String, String), Instant>,
}

impl Signs {
    /// The actor follows the session's stream, or did something in it.
    pub(crate) fn note(&self, session_id: &str, actor_id: &str, now: Instant) {
        let mut signs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        signs.new.insert((session_id.to_owned(), actor_id.to_owned()), now);
        if signs.new.len() >= REMEMBERED {
            signs.old = std::mem::take(&mut signs.new);
        }
    }

    /// When these actors were heard of last in a session, as far as that is remembered.
    pub(crate) fn last(&self, session_id: &str, actors: Vec<String>) -> HashMap<String, Instant> {
        let signs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let last = |actor: String| {
            let key = (session_id.to_owned(), actor);
            let at = signs.new.get(&key).or_else(|| signs.old.get(&key))?;
            Some((key.1, *at))
        };
        actors.into_iter().filter_map(last).collect()
    }
}
