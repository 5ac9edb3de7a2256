//! Work of the writer between commits: it tells readers what is new, removes what expired, and
//! gives space back, a slice at a time.

use std::{sync::Arc, time::Duration};

use sqlite_line::{Cause, Housekeeping, Writer};

use super::{
    listeners::Listeners,
    remove,
    tx::{Notes, now},
};

/// Tidying that failed is tried again after so long.
const AGAIN: Duration = Duration::from_secs(3);
const LONG: Duration = Duration::from_secs(3600);

/// The writer's housekeeping.
pub(super) struct Tidying {
    listeners: Arc<Listeners>,
    /// The last slice failed.
    failed: bool,
}

impl Tidying {
    pub(super) fn new(listeners: Arc<Listeners>) -> Self {
        Self { listeners, failed: false }
    }

    /// Ends the removal after the last slice: the file gets as short as what it holds, and the log
    /// forgets what was deleted.
    fn give_back(&mut self, writer: &mut Writer) {
        loop {
            let scarce = writer.is_scarce();
            match remove::give_back(writer.db(), scarce) {
                Ok(remove::GivenBack::Nothing) => break,
                Ok(remove::GivenBack::Some) => {
                    if scarce {
                        writer.fold();
                    }
                }
                Ok(remove::GivenBack::All) => {
                    writer.fold();
                    break;
                }
                Err(error) => {
                    tracing::warn!(%error, "space could not be given back yet");
                    self.failed = true;
                    writer.fold();
                    if Cause::of(&error) != Cause::Full || !writer.give_up_reserve() {
                        break;
                    }
                }
            }
        }
        writer.keep_reserve();
    }
}

impl Housekeeping for Tidying {
    type Notes = Notes;

    fn committed(&mut self, notes: Notes) -> bool {
        self.listeners.tell(notes.effects);
        notes.litter
    }

    /// Failing is not an error: there will be a next time.
    fn tidy(&mut self, writer: &mut Writer) -> bool {
        let scarce = writer.is_scarce();
        let mut notes = Notes::default();
        let slice = remove::overwrite(writer.db(), !scarce)
            .and_then(|()| writer.transaction(|tx| remove::slice(&mut notes.tx(tx), scarce)));
        let had_failed = std::mem::replace(&mut self.failed, slice.is_err());
        match slice {
            Ok(remove::Slice { more, bytes }) => {
                writer.wrote(bytes);
                let litter = self.committed(notes);
                if !more {
                    self.give_back(writer);
                } else if scarce {
                    writer.fold();
                }
                writer.fold_when_due();
                more || litter
            }
            Err(error) => {
                tracing::warn!(%error, "removing old streams failed; it is tried again later");
                writer.fold();
                Cause::of(&error) == Cause::Full && writer.give_up_reserve() && !had_failed
            }
        }
    }

    fn rest(&self, writer: &Writer) -> Duration {
        if self.failed || writer.is_scarce() {
            return AGAIN;
        }
        match remove::next_expiry(writer.db()) {
            Ok(Some(at)) => Duration::from_millis(u64::try_from(at - now()).unwrap_or(0)).min(LONG),
            _ => LONG,
        }
    }
}
