//! How far one message is, whether anybody is shown it, and what may still come.

use serde::{Deserialize, Serialize};

/// The content of a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
enum Carries {
    #[default]
    Nothing,
    /// Only answers, results and settings, which nobody is shown.
    Signals,
    /// Something to show.
    Contents,
    /// Something that is never shown, whatever it is.
    Hidden,
}

/// How a message was told so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
enum Telling {
    #[default]
    Unsaid,
    /// Chunk by chunk. A whole message is a snapshot of it, which may go on.
    Pieces,
    /// As a whole message: only signals count behind it.
    Whole,
    /// As a whole message, and something came behind it that counts.
    WholeAndMore,
}

/// The stage that a message is at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stage {
    carries: Carries,
    telling: Telling,
    /// Whether the message's last event was an end.
    ended: bool,
    /// An entity's status says whether it is complete, whatever else comes.
    locked: Option<bool>,
    /// The parts of a whole message are being read.
    stating: bool,
}

impl Stage {
    /// Takes note that the message carries an answer, a result or a setting.
    pub(super) fn signal(&mut self) {
        if self.carries == Carries::Nothing {
            self.carries = Carries::Signals;
        }
    }

    /// Takes note that the message carries something to show.
    pub(super) fn content(&mut self) {
        if self.carries != Carries::Hidden {
            self.carries = Carries::Contents;
        }
    }

    /// Nobody is shown it.
    pub(super) fn hide(&mut self) {
        self.carries = Carries::Hidden;
    }

    /// Goes on. Returns whether the message had ended.
    pub(super) fn resume(&mut self) -> bool {
        self.content();
        std::mem::take(&mut self.ended)
    }

    /// Ends the message.
    pub(super) fn end(&mut self) {
        self.ended = true;
    }

    /// An entity's status says whether it is complete.
    pub(super) fn lock(&mut self, complete: bool) {
        self.content();
        self.locked = Some(complete);
    }

    /// A chunk is told that is no whole message.
    pub(super) fn piece(&mut self) {
        self.telling = match self.telling {
            Telling::Unsaid | Telling::Pieces => Telling::Pieces,
            Telling::Whole | Telling::WholeAndMore => Telling::WholeAndMore,
        };
    }

    /// Whether it was told as a whole message.
    pub(super) fn is_whole(self) -> bool {
        matches!(self.telling, Telling::Whole | Telling::WholeAndMore)
    }

    /// The parts of a whole message follow.
    pub(super) fn begin_whole(&mut self) {
        self.content();
        self.stating = true;
    }

    /// The parts of a whole message are read.
    pub(super) fn end_whole(&mut self) {
        self.stating = false;
        self.telling = match self.telling {
            Telling::Unsaid | Telling::Whole => Telling::Whole,
            Telling::Pieces | Telling::WholeAndMore => Telling::Pieces,
        };
    }

    /// The parts of a whole message are being read.
    pub(super) fn is_stating(self) -> bool {
        self.stating
    }

    /// Whether its last event was an end.
    pub(super) fn has_ended(self) -> bool {
        self.ended
    }

    /// Whether nobody is shown it.
    pub(super) fn is_hidden(self) -> bool {
        matches!(self.carries, Carries::Hidden | Carries::Signals)
    }

    /// Whether it is complete.
    pub(super) fn is_complete(self) -> bool {
        self.locked.unwrap_or(self.ended || self.is_hidden())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Do = fn(&mut Stage);

    const SIGNAL: (&str, Do) = ("signal", Stage::signal);
    const CONTENT: (&str, Do) = ("content", Stage::content);
    const HIDE: (&str, Do) = ("hide", Stage::hide);
    const END: (&str, Do) = ("end", Stage::end);
    const RESUME: (&str, Do) = ("resume", |stage| {
        stage.resume();
    });
    const DONE: (&str, Do) = ("complete", |stage| stage.lock(true));
    const GOING: (&str, Do) = ("not complete", |stage| stage.lock(false));
    const PIECE: (&str, Do) = ("piece", Stage::piece);
    const WHOLE: (&str, Do) = ("whole", |stage| {
        stage.begin_whole();
        stage.end_whole();
        stage.end();
    });

    #[test]
    fn what_happens_to_a_message_says_who_sees_it_and_whether_it_is_complete() {
        // What happens, and whether it is hidden, complete, and whole then.
        for (events, hidden, complete, whole) in [
            (&[][..], false, false, false),
            (&[SIGNAL], true, true, false),
            (&[CONTENT], false, false, false),
            (&[SIGNAL, CONTENT], false, false, false),
            (&[CONTENT, SIGNAL], false, false, false),
            (&[HIDE, CONTENT], true, true, false),
            (&[HIDE, SIGNAL, END, RESUME], true, true, false),
            (&[END], false, true, false),
            (&[SIGNAL, END], true, true, false),
            (&[END, CONTENT], false, true, false),
            (&[END, RESUME], false, false, false),
            (&[SIGNAL, RESUME], false, false, false),
            (&[GOING, END], false, false, false),
            (&[DONE, RESUME], false, true, false),
            (&[DONE, GOING], false, false, false),
            (&[SIGNAL, DONE], false, true, false),
            (&[HIDE, GOING], true, false, false),
            (&[PIECE], false, false, false),
            (&[WHOLE], false, true, true),
            (&[WHOLE, PIECE], false, true, true),
            (&[WHOLE, WHOLE], false, true, true),
            (&[PIECE, WHOLE], false, true, false),
            (&[WHOLE, PIECE, WHOLE], false, true, false),
            (&[WHOLE, RESUME], false, false, true),
        ] {
            let mut stage = Stage::default();
            let names: Vec<&str> = events.iter().map(|(name, _)| *name).collect();
            events.iter().for_each(|(_, happens)| happens(&mut stage));
            let is = (stage.is_hidden(), stage.is_complete(), stage.is_whole());
            assert_eq!(is, (hidden, complete, whole), "{names:?}");
            assert!(!stage.is_stating());
        }
    }

    #[test]
    fn only_a_message_that_had_ended_is_taken_up_again() {
        let mut stage = Stage::default();
        assert!(!stage.resume());
        stage.end();
        assert!(stage.has_ended() && stage.resume() && !stage.has_ended());
    }
}
