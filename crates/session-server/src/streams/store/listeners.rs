//! Readers that wait for something new in a stream.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use tokio::sync::broadcast;

use super::tx::Effect;

/// A wake-up call for one reader. It holds one call: a second one before the reader looks adds
/// nothing.
pub(crate) type Wake = broadcast::Sender<()>;

/// Readers that wait, by stream. Every reader has a channel of its own, so that one who reads page
/// after page can be woken without waking all.
#[derive(Default)]
pub(super) struct Listeners(Mutex<HashMap<String, Vec<Wake>>>);

impl Listeners {
    /// A new reader of the stream, who is forgotten when he drops the receiver.
    pub(super) fn add(&self, stream: &str) -> (Wake, broadcast::Receiver<()>) {
        let (wake, receiver) = broadcast::channel(1);
        let mut streams = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = streams.entry(stream.to_owned()).or_default();
        if waiting.len() == waiting.capacity() {
            waiting.retain(|wake| wake.receiver_count() > 0);
        }
        waiting.push(wake.clone());
        (wake, receiver)
    }

    /// Passes on what a commit did.
    pub(super) fn tell(&self, effects: Vec<Effect>) {
        if effects.is_empty() {
            return;
        }
        let mut streams = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for effect in effects {
            match effect {
                Effect::Wake(stream) => {
                    let Some(waiting) = streams.get_mut(&stream) else { continue };
                    waiting.retain(|wake| wake.send(()).is_ok());
                    if waiting.is_empty() {
                        streams.remove(&stream);
                    }
                }
                Effect::Gone(stream) => {
                    // They look once more, and find it gone.
                    for wake in streams.remove(&stream).unwrap_or_default() {
                        wake.send(()).ok();
                    }
                }
            }
        }
    }
}
