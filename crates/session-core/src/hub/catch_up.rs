//! Progress of a session: is what its server lists already here?
//!
//! A server's list says when each session was last active. A session at rest that was active since
//! it was last read is behind, and is followed until its line has said all there was when it began.
//! What is listed while a line is live comes by the line itself.
//!
//! | in | when | becomes |
//! | --- | --- | --- |
//! | any | [`CatchUp::follow`] | `Following`, of the next generation and up to what is listed by then |
//! | any | [`CatchUp::rest`] | `Resting` |
//! | `Following` | [`CatchUp::reached`], of its generation | `Live`; what was listed when it began is here |
//! | else | [`CatchUp::reached`] | itself: the report is of an earlier line |
//! | any | [`CatchUp::list`] | itself; what is listed may be more |

/// A time as a server lists it. Two of one server compare as they were.
type ListedTime = Option<String>;

/// Progress of one session: how much of what the server lists is here.
#[derive(Debug)]
pub(super) struct CatchUp {
    state: Progress,
    /// Number of the present line, or of the last one.
    generation: u64,
    /// The last activity that the server lists.
    listed: ListedTime,
    /// The last activity that was listed and is here.
    here: ListedTime,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Progress {
    /// No line is open.
    Resting,
    /// A line is on its way to the last activity that was listed when it began.
    Following { until: ListedTime },
    /// The line has said all there was, and says what comes.
    Live,
}

impl CatchUp {
    /// A session at rest whose stored rows go up to `here`.
    pub(super) fn new(here: ListedTime) -> Self {
        Self { state: Progress::Resting, generation: 0, listed: None, here }
    }

    /// The last activity that the server lists.
    pub(super) fn listed(&self) -> Option<&str> {
        self.listed.as_deref()
    }

    /// Takes the last activity that the server lists. Returns whether that is news.
    pub(super) fn list(&mut self, at: ListedTime) -> bool {
        let is_news = self.listed < at;
        if is_news {
            self.listed = at;
        }
        is_news
    }

    /// Begins a line. Returns its generation, which its reports carry.
    pub(super) fn follow(&mut self) -> u64 {
        self.state = Progress::Following { until: self.listed.clone() };
        self.generation += 1;
        self.generation
    }

    /// Ends the line.
    pub(super) fn rest(&mut self) {
        self.state = Progress::Resting;
    }

    /// Takes a report: the line of a generation has said all there is.
    pub(super) fn reached(&mut self, generation: u64) {
        if generation == self.generation
            && let Progress::Following { until } = &mut self.state
        {
            self.here = self.here.take().max(until.take());
            self.state = Progress::Live;
        }
    }

    /// Whether something happened that is not here, and whose coming nobody waits for.
    pub(super) fn is_behind(&self) -> bool {
        self.listed > self.here && self.state != Progress::Live
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: u32) -> ListedTime {
        Some(format!("2026-01-01T00:00:{second:02}Z"))
    }

    #[test]
    fn each_event_leads_to_the_state_of_the_table() {
        enum On {
            List(u32),
            Follow,
            Rest,
            /// A report of the present line, or of the one before.
            Reached,
            ReachedEarlier,
        }
        use On::*;
        use Progress::*;
        let following = |second| Following { until: at(second) };
        // What is here is of second 1, what is listed of second 5, the line is the second one: the
        // state, what happens, the state after it, and whether the session is behind then.
        let table = [
            (Resting, List(5), Resting, true),
            (Resting, List(3), Resting, true),
            (Resting, List(9), Resting, true),
            (Resting, Follow, following(5), true),
            (Resting, Rest, Resting, true),
            (Resting, Reached, Resting, true),
            (Resting, ReachedEarlier, Resting, true),
            (following(5), List(9), following(5), true),
            (following(3), Follow, following(5), true),
            (following(5), Rest, Resting, true),
            (following(5), Reached, Live, false),
            (following(3), Reached, Live, false),
            (following(5), ReachedEarlier, following(5), true),
            (Live, List(9), Live, false),
            (Live, Follow, following(5), true),
            (Live, Rest, Resting, true),
            (Live, Reached, Live, false),
            (Live, ReachedEarlier, Live, false),
        ];
        for (row, (state, on, after, behind)) in table.into_iter().enumerate() {
            let mut session = CatchUp { state, generation: 2, listed: at(5), here: at(1) };
            match on {
                List(second) => assert_eq!(session.list(at(second)), second > 5, "row {row}"),
                Follow => assert_eq!(session.follow(), 3, "row {row}"),
                Rest => session.rest(),
                Reached => session.reached(2),
                ReachedEarlier => session.reached(1),
            }
            assert_eq!(session.state, after, "row {row}");
            assert_eq!(session.is_behind(), behind, "row {row}");
        }
    }

    fn listed(second: u32) -> CatchUp {
        let mut session = CatchUp::new(at(1));
        assert!(session.list(at(second)));
        session
    }

    #[test]
    fn what_is_listed_and_not_here_is_behind_until_a_line_has_said_all() {
        let mut session = listed(5);
        assert!(session.is_behind());
        assert!(!session.list(at(5)) && !session.list(at(3)), "no news");
        let line = session.follow();
        assert!(session.is_behind(), "it has not said it yet");
        session.reached(line);
        assert!(!session.is_behind());
        session.rest();
        assert!(!session.is_behind());
    }

    #[test]
    fn what_is_listed_while_a_line_is_live_comes_by_the_line_and_is_sought_when_it_ends() {
        let mut session = listed(5);
        let line = session.follow();
        session.reached(line);
        session.list(at(7));
        assert!(!session.is_behind());
        session.rest();
        assert!(session.is_behind(), "the line may have ended before it came");
    }

    #[test]
    fn what_is_listed_after_a_line_began_is_not_vouched_for_by_it() {
        let mut session = listed(5);
        let line = session.follow();
        session.list(at(7));
        session.reached(line);
        session.rest();
        assert!(session.is_behind());
    }

    #[test]
    fn a_report_of_an_earlier_line_says_nothing() {
        let mut session = listed(5);
        let earlier = session.follow();
        session.rest();
        session.reached(earlier);
        assert!(session.is_behind());
        let line = session.follow();
        assert_ne!(line, earlier);
        session.reached(earlier);
        assert!(session.is_behind());
        session.reached(line);
        assert!(!session.is_behind());
    }
}
