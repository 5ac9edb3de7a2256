//! The phases of a connection, and which event leads from which to which.
//!
//! One prompt is under way at a time. Between a cancel and the end of its prompt nothing new is sent, and a session that
//! rests is never cancelled: agents were seen to lose the next prompt otherwise.

/// How a session of the agent is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// `session/new`.
    New,
    /// `session/resume`: the agent says nothing of what was.
    Resume,
    /// `session/load`: the agent says everything again, which is dropped.
    Load,
}

/// Where a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The program runs and was greeted.
    Greeting,
    /// It answered, and has no session.
    Ready,
    /// A session is being opened.
    Opening(How),
    /// The session rests.
    Idle,
    /// A prompt is under way.
    Prompting,
    /// The prompt was cancelled and has not ended.
    Cancelling,
    /// The program was asked to end.
    Closing,
    /// The program is gone.
    Gone,
}

/// What happens to a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The answer to `initialize`.
    Greeted,
    /// A session is wanted.
    Open(How),
    /// The session is there.
    Opened,
    /// The agent would not open it.
    NotOpened,
    /// A prompt is sent.
    Prompt,
    /// The prompt's answer, or its error.
    Answered,
    /// The prompt is no longer wanted.
    Cancel,
    /// The program is to end.
    Close,
    /// The program ended.
    Gone,
}

impl Phase {
    /// The next phase, or `None` where the event means nothing: it is not sent, or not listened to.
    pub fn on(self, event: Event) -> Option<Self> {
        Some(match (self, event) {
            (Self::Gone, _) => return None,
            (_, Event::Gone) => Self::Gone,
            (Self::Closing, _) => return None,
            (_, Event::Close) => Self::Closing,
            (Self::Greeting, Event::Greeted) => Self::Ready,
            (Self::Ready, Event::Open(how)) => Self::Opening(how),
            (Self::Opening(_), Event::Opened) => Self::Idle,
            (Self::Opening(_), Event::NotOpened) => Self::Ready,
            (Self::Idle, Event::Prompt) => Self::Prompting,
            (Self::Prompting, Event::Cancel) => Self::Cancelling,
            (Self::Prompting | Self::Cancelling, Event::Answered) => Self::Idle,
            _ => return None,
        })
    }

    /// True while the agent's updates say again what was said before.
    pub fn replays(self) -> bool {
        matches!(self, Self::Opening(How::Load | How::Resume))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOW: [How; 3] = [How::New, How::Resume, How::Load];

    fn phases() -> Vec<Phase> {
        use Phase::*;
        let mut all = vec![Greeting, Ready, Idle, Prompting, Cancelling, Closing, Gone];
        all.extend(HOW.map(Opening));
        all
    }

    fn events() -> Vec<Event> {
        use Event::*;
        let mut all = vec![Greeted, Opened, NotOpened, Prompt, Answered, Cancel, Close, Gone];
        all.extend(HOW.map(Open));
        all
    }

    #[test]
    fn the_program_can_end_at_any_moment_and_then_nothing_happens() {
        for phase in phases() {
            let wanted = (phase != Phase::Gone).then_some(Phase::Gone);
            assert_eq!(phase.on(Event::Gone), wanted, "{phase:?}");
            assert_eq!(Phase::Gone.on(Event::Close), None);
        }
    }

    #[test]
    fn a_prompt_is_sent_only_to_a_session_that_rests_and_cancelled_only_while_it_goes() {
        for phase in phases() {
            assert_eq!(phase.on(Event::Prompt).is_some(), phase == Phase::Idle, "{phase:?}");
            assert_eq!(phase.on(Event::Cancel).is_some(), phase == Phase::Prompting, "{phase:?}");
        }
    }

    #[test]
    fn every_phase_is_reached_and_left() {
        let mut reached = vec![Phase::Greeting];
        let mut at = 0;
        while let Some(&phase) = reached.get(at) {
            let next = events().into_iter().filter_map(|event| phase.on(event));
            let next: Vec<Phase> = next.filter(|next| !reached.contains(next)).collect();
            for next in next {
                if !reached.contains(&next) {
                    reached.push(next);
                }
            }
            at += 1;
        }
        for phase in phases() {
            assert!(reached.contains(&phase), "{phase:?} is never reached");
        }
    }
}
