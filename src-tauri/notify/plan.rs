//! Decides which notifications to show and withdraw. No clock and no desktop: both are passed in.

use super::harmless::is_harmless;
use session_core::{SessionState, SessionSummary, WaitingApproval};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// Letters of a name that somebody else chose.
const NAME: usize = 60;

/// One thing to do on the desktop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// Show a notification for the session, in place of the one it has.
    Show { session: String, title: String, body: String, offer: Offer },
    /// Take the session's notification away.
    Withdraw { session: String },
}

/// The acts that a notification offers, beside opening its session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Offer {
    /// Nothing.
    Open,
    /// See what is asked.
    Review,
    /// Approve or deny, at once.
    Decide(Ask),
}

/// A request as an answer names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ask {
    pub(super) message_id: String,
    pub(super) approval_id: String,
}

/// The person: what is before their eyes, and what they want to be told.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Person<'a> {
    /// The session that is before their eyes.
    pub(super) on_screen: Option<&'a str>,
    /// Sessions of which they want to hear nothing.
    pub(super) muted: &'a [String],
    /// When they may be disturbed again.
    pub(super) quiet_until: Option<Instant>,
    /// Whether they want to hear of answers that ended.
    pub(super) ends: bool,
}

/// The person's knowledge of one session's approvals.
#[derive(Debug, Default)]
struct Known {
    /// The approvals that were announced, or that came before the person's eyes by themselves.
    ids: BTreeSet<String>,
    /// Whether a notification stands on the desktop.
    shown: bool,
}

/// An answer that ended while nobody looked.
#[derive(Debug)]
struct End {
    title: String,
    failed: bool,
    since: Instant,
    shown: bool,
}

/// The approvals, ends and notifications that were seen and shown so far.
#[derive(Debug)]
pub(super) struct Plan {
    patience: Duration,
    /// Time at which each waiting approval (session, id) was first seen.
    since: BTreeMap<(String, String), Instant>,
    known: BTreeMap<String, Known>,
    /// Sessions in which an agent answers.
    running: BTreeSet<String>,
    ends: BTreeMap<String, End>,
    /// Sessions whose notification is of something that is over.
    stale: BTreeSet<String>,
    due: Option<Instant>,
}

impl Plan {
    /// A plan that has seen nothing; what happens is announced after it has lasted for `patience`.
    pub(super) fn new(patience: Duration) -> Self {
        Self {
            patience,
            since: BTreeMap::new(),
            known: BTreeMap::new(),
            running: BTreeSet::new(),
            ends: BTreeMap::new(),
            stale: BTreeSet::new(),
            due: None,
        }
    }

    /// Takes a session as it is now.
    pub(super) fn session(&mut self, session: &SessionSummary, now: Instant) {
        let id = &session.id;
        let failed = match session.state {
            SessionState::Running => {
                self.running.insert(id.clone());
                None
            }
            // It waits for something, and goes on.
            SessionState::Approval => None,
            SessionState::Sending => return,
            SessionState::Idle => Some(false),
            SessionState::Failed => Some(true),
        };
        match failed {
            None => {
                if self.ends.remove(id).is_some_and(|end| end.shown) {
                    self.stale.insert(id.clone());
                }
            }
            Some(failed) => {
                if self.running.remove(id) {
                    let title = session.title.trim().to_owned();
                    self.ends.insert(id.clone(), End { title, failed, since: now, shown: false });
                }
            }
        }
        if session.state == SessionState::Approval {
            self.running.remove(id);
        }
    }

    /// The steps to take now that `waiting` waits.
    pub(super) fn next(
        &mut self,
        waiting: &[WaitingApproval],
        person: Person<'_>,
        now: Instant,
    ) -> Vec<Step> {
        let mut sessions: BTreeMap<&str, Vec<&WaitingApproval>> = BTreeMap::new();
        for one in waiting {
            sessions.entry(&one.session_id).or_default().push(one);
        }
        self.since.retain(|(session, id), _| {
            sessions
                .get(session.as_str())
                .is_some_and(|all| all.iter().any(|a| a.approval.id == *id))
        });
        self.due = None;
        let mut steps = Vec::new();
        for (session, all) in &sessions {
            let known = self.known.entry((*session).to_owned()).or_default();
            if person.on_screen == Some(*session) {
                known.ids.extend(all.iter().map(|one| one.approval.id.clone()));
                if std::mem::take(&mut known.shown) {
                    steps.push(Step::Withdraw { session: (*session).to_owned() });
                }
                continue;
            }
            if person.muted.iter().any(|muted| muted == session) {
                continue;
            }
            let mut news = false;
            for one in all {
                let id = &one.approval.id;
                let key = ((*session).to_owned(), id.clone());
                let ready = *self.since.entry(key).or_insert(now) + self.patience;
                let ready = person.quiet_until.map_or(ready, |end| ready.max(end));
                if known.ids.contains(id) {
                    continue;
                }
                if ready <= now {
                    known.ids.insert(id.clone());
                    news = true;
                } else {
                    self.due = Some(self.due.map_or(ready, |due| due.min(ready)));
                }
            }
            if news {
                known.shown = true;
                self.stale.remove(*session);
                steps.push(text(session, all));
            }
        }
        self.known.retain(|session, known| {
            let waits = sessions.contains_key(session.as_str());
            if !waits && known.shown {
                steps.push(Step::Withdraw { session: session.clone() });
            }
            waits
        });
        self.tell_ends(&sessions, person, now, &mut steps);
        steps.extend(
            std::mem::take(&mut self.stale).into_iter().map(|session| Step::Withdraw { session }),
        );
        steps
    }

    /// Announces what ended, once each.
    fn tell_ends(
        &mut self,
        sessions: &BTreeMap<&str, Vec<&WaitingApproval>>,
        person: Person<'_>,
        now: Instant,
        steps: &mut Vec<Step>,
    ) {
        let (patience, due) = (self.patience, &mut self.due);
        self.ends.retain(|session, end| {
            let seen = person.on_screen == Some(session.as_str());
            let asks = sessions.contains_key(session.as_str());
            if end.shown {
                if seen {
                    steps.push(Step::Withdraw { session: session.clone() });
                }
                return !seen && !asks;
            }
            let muted = person.muted.iter().any(|muted| muted == session);
            // Who is not to be disturbed reads it in the list.
            if seen || asks || muted || !person.ends || person.quiet_until.is_some() {
                return false;
            }
            let ready = end.since + patience;
            if ready > now {
                *due = Some(due.map_or(ready, |due| due.min(ready)));
                return true;
            }
            end.shown = true;
            let what = if end.failed { "Answer failed" } else { "Answer ready" };
            let body = if end.failed {
                "An agent could not finish its answer."
            } else {
                "An agent has finished its answer."
            };
            steps.push(Step::Show {
                session: session.clone(),
                title: titled(what, &end.title),
                body: body.to_owned(),
                offer: Offer::Open,
            });
            true
        });
    }

    /// The person turned notifications off.
    pub(super) fn withdraw_all(&mut self) -> Vec<Step> {
        self.due = None;
        let known = std::mem::take(&mut self.known).into_iter();
        let shown = known.filter(|(_, known)| known.shown).map(|(session, _)| session);
        let ends = std::mem::take(&mut self.ends).into_iter();
        let ended = ends.filter(|(_, end)| end.shown).map(|(session, _)| session);
        let all: BTreeSet<String> =
            shown.chain(ended).chain(std::mem::take(&mut self.stale)).collect();
        all.into_iter().map(|session| Step::Withdraw { session }).collect()
    }

    /// Waits until something will have lasted long enough; for ever when nothing is on its way.
    ///
    /// # Cancel safety
    /// Holds no state.
    pub(super) async fn due(&self) {
        match self.due {
            Some(due) => tokio::time::sleep_until(due.into()).await,
            None => std::future::pending().await,
        }
    }
}

fn titled(what: &str, title: &str) -> String {
    if title.is_empty() { what.to_owned() } else { format!("{what}: {title}") }
}

fn text(session: &str, waiting: &[&WaitingApproval]) -> Step {
    // A question is about no tool.
    let asks = |one: &&&WaitingApproval| one.approval.question.is_some();
    let only_questions = waiting.iter().all(|one| asks(&one));
    let need = if only_questions { "Question" } else { "Approval needed" };
    let title = waiting.first().map(|one| one.session_title.trim()).unwrap_or_default();
    let first = waiting.iter().find(|one| !asks(one) && !one.approval.tool_name.is_empty());
    let agent = |one: &WaitingApproval| match one.approval.requested_by.as_deref().map(str::trim) {
        Some(name) if !name.is_empty() => name.chars().take(NAME).collect(),
        _ => "An agent".to_owned(),
    };
    let body = match (first, waiting.len()) {
        (Some(one), all) => {
            let (agent, tool) = (agent(one), &one.approval.tool_name);
            match all {
                0 | 1 => format!("{agent} wants to use {tool}."),
                all => format!("{agent} wants to use {tool} and {} more.", all - 1),
            }
        }
        (None, 1) if only_questions => {
            format!(
                "{} has a question for you.",
                waiting.first().map_or_else(String::new, |one| agent(one))
            )
        }
        (None, all) if only_questions => format!("Agents have {all} questions for you."),
        (None, _) => "An agent waits for your answer.".to_owned(),
    };
    Step::Show {
        session: session.to_owned(),
        title: titled(need, title),
        body,
        offer: offer(waiting),
    }
}

/// The offer of what can be decided without seeing the arguments: one request of a tool that only
/// reads.
fn offer(waiting: &[&WaitingApproval]) -> Offer {
    let [only] = waiting else { return Offer::Review };
    let approval = &only.approval;
    let plain = approval.question.is_none() && approval.options.is_none();
    if plain && is_harmless(&approval.tool_name, approval.input.as_ref()) {
        return Offer::Decide(Ask {
            message_id: approval.message_id.clone(),
            approval_id: approval.id.clone(),
        });
    }
    Offer::Review
}

#[cfg(test)]
mod tests {
    use super::*;
    use session_protocol::{Approval, ApprovalStatus};

    const PATIENCE: Duration = Duration::from_secs(1);
    const NOBODY: Person<'_> =
        Person { on_screen: None, muted: &[], quiet_until: None, ends: true };

    fn looking_at(session: &str) -> Person<'_> {
        Person { on_screen: Some(session), ..NOBODY }
    }

    fn is(id: &str, state: SessionState) -> SessionSummary {
        SessionSummary {
            id: id.to_owned(),
            title: "Tidy up".to_owned(),
            created_at: None,
            last_activity_at: None,
            preview: None,
            state,
            unread: 0,
            pending_approvals: 0,
            draft: None,
            parent_id: None,
        }
    }

    fn waits(session: &str, id: &str) -> WaitingApproval {
        WaitingApproval {
            session_id: session.to_owned(),
            session_title: "Tidy up".to_owned(),
            approval: Approval {
                id: id.to_owned(),
                tool_name: "delete_file".to_owned(),
                status: ApprovalStatus::Pending,
                tool_call_id: "call".to_owned(),
                message_id: "message".to_owned(),
                input: None,
                requested_by: None,
                requested_at: None,
                responded_by: None,
                responded_at: None,
                expires_at: None,
                question: None,
                options: None,
                option_id: None,
                reason: None,
            },
        }
    }

    fn shown(steps: &[Step]) -> Vec<&str> {
        let mut sessions = Vec::new();
        for step in steps {
            if let Step::Show { session, .. } = step {
                sessions.push(session.as_str());
            }
        }
        sessions
    }

    fn withdrawn(session: &str) -> Vec<Step> {
        vec![Step::Withdraw { session: session.to_owned() }]
    }

    #[test]
    fn announces_once_after_the_approval_has_waited() {
        let (mut plan, start) = (Plan::new(PATIENCE), Instant::now());
        assert!(plan.next(&[waits("s", "a")], NOBODY, start).is_empty());
        assert_eq!(plan.due, Some(start + PATIENCE));
        assert_eq!(shown(&plan.next(&[waits("s", "a")], NOBODY, start + PATIENCE)), ["s"]);
        assert!(plan.next(&[waits("s", "a")], NOBODY, start + PATIENCE * 2).is_empty());
    }

    #[test]
    fn an_approval_answered_at_once_never_flashes() {
        let (mut plan, start) = (Plan::new(PATIENCE), Instant::now());
        plan.next(&[waits("s", "a")], NOBODY, start);
        assert!(plan.next(&[], NOBODY, start + PATIENCE).is_empty());
    }

    #[test]
    fn withdraws_when_answered_elsewhere_or_when_it_comes_on_screen() {
        let (mut plan, start) = (Plan::new(PATIENCE), Instant::now());
        let both = [waits("s", "a"), waits("t", "b")];
        plan.next(&both, NOBODY, start);
        assert_eq!(shown(&plan.next(&both, NOBODY, start + PATIENCE)), ["s", "t"]);
        assert_eq!(plan.next(&both[..1], NOBODY, start + PATIENCE), withdrawn("t"));
        assert_eq!(plan.next(&both[..1], looking_at("s"), start + PATIENCE), withdrawn("s"));
        assert!(plan.next(&both[..1], NOBODY, start + PATIENCE * 3).is_empty(), "it was seen");
    }

    #[test]
    fn a_session_on_screen_is_not_announced_but_another_one_is() {
        let (mut plan, start) = (Plan::new(PATIENCE), Instant::now());
        let both = [waits("s", "a"), waits("t", "b")];
        plan.next(&both, looking_at("s"), start);
        assert_eq!(shown(&plan.next(&both, looking_at("s"), start + PATIENCE)), ["t"]);
    }

    #[test]
    fn a_question_is_no_use_of_a_tool() {
        let mut question = waits("s", "q");
        question.approval.tool_name = "input".to_owned();
        question.approval.question = Some("Which city?".to_owned());
        let said = |waiting: &[&WaitingApproval]| match text("s", waiting) {
            Step::Show { title, body, .. } => (title, body),
            other => panic!("a notification: {other:?}"),
        };
        let (title, body) = said(&[&question]);
        assert_eq!(
            (title.as_str(), body.as_str()),
            ("Question: Tidy up", "An agent has a question for you.")
        );
        let (title, body) = said(&[&question, &waits("s", "a")]);
        assert_eq!(title, "Approval needed: Tidy up");
        assert_eq!(body, "An agent wants to use delete_file and 1 more.");
    }

    #[test]
    fn a_second_approval_replaces_the_session_s_notification() {
        let (mut plan, start) = (Plan::new(PATIENCE), Instant::now());
        let both = [waits("s", "a"), waits("s", "b")];
        plan.next(&both[..1], NOBODY, start);
        plan.next(&both[..1], NOBODY, start + PATIENCE);
        plan.next(&both, NOBODY, start + PATIENCE);
        let steps = plan.next(&both, NOBODY, start + PATIENCE * 2);
        let [Step::Show { body, .. }] = steps.as_slice() else {
            panic!("one notification: {steps:?}")
        };
        assert_eq!(body, "An agent wants to use delete_file and 1 more.");
    }

    #[test]
    fn an_end_is_told_once_and_withdrawn_when_it_is_seen_or_goes_on() {
        let (mut plan, start) = (Plan::new(PATIENCE), Instant::now());
        let later = start + PATIENCE;
        plan.session(&is("s", SessionState::Idle), start);
        assert!(plan.next(&[], NOBODY, later).is_empty(), "it did not run");
        for (state, says) in [(SessionState::Idle, "ready"), (SessionState::Failed, "failed")] {
            plan.session(&is("s", SessionState::Running), start);
            plan.session(&is("s", state), start);
            assert!(plan.next(&[], NOBODY, start).is_empty(), "it may go on at once");
            let steps = plan.next(&[], NOBODY, later);
            let [Step::Show { title, offer, .. }] = steps.as_slice() else { panic!("{steps:?}") };
            assert_eq!(
                (title.as_str(), offer),
                (&*format!("Answer {says}: Tidy up"), &Offer::Open)
            );
            plan.session(&is("s", state), later);
            assert!(plan.next(&[], NOBODY, later).is_empty(), "once");
            assert_eq!(plan.next(&[], looking_at("s"), later), withdrawn("s"));
        }
        plan.session(&is("s", SessionState::Running), start);
        plan.session(&is("s", SessionState::Idle), start);
        assert_eq!(shown(&plan.next(&[], NOBODY, later)), ["s"]);
        plan.session(&is("s", SessionState::Running), later);
        assert_eq!(plan.next(&[], NOBODY, later), withdrawn("s"));
    }

    #[test]
    fn an_end_before_the_persons_eyes_or_before_an_approval_is_no_news() {
        let (mut plan, start) = (Plan::new(PATIENCE), Instant::now());
        plan.session(&is("s", SessionState::Running), start);
        plan.session(&is("s", SessionState::Idle), start);
        assert!(plan.next(&[], looking_at("s"), start).is_empty());
        assert!(plan.next(&[], NOBODY, start + PATIENCE).is_empty());
        plan.session(&is("s", SessionState::Running), start);
        plan.session(&is("s", SessionState::Approval), start);
        plan.session(&is("s", SessionState::Idle), start);
        assert!(plan.next(&[], NOBODY, start + PATIENCE).is_empty(), "a person answered it");
    }

    #[test]
    fn nobody_is_disturbed_in_quiet_hours_or_about_a_muted_session() {
        let (mut plan, start) = (Plan::new(PATIENCE), Instant::now());
        let morning = start + Duration::from_secs(600);
        let asleep = Person { quiet_until: Some(morning), ..NOBODY };
        plan.session(&is("t", SessionState::Running), start);
        plan.session(&is("t", SessionState::Idle), start);
        assert!(plan.next(&[waits("s", "a")], asleep, start + PATIENCE).is_empty());
        assert_eq!(plan.due, Some(morning), "what waits is told in the morning");
        assert_eq!(shown(&plan.next(&[waits("s", "a")], NOBODY, morning)), ["s"]);
        let muted = ["u".to_owned()];
        let person = Person { muted: &muted, ..NOBODY };
        plan.next(&[waits("u", "b")], person, morning);
        assert!(shown(&plan.next(&[waits("u", "b")], person, morning + PATIENCE)).is_empty());
    }

    #[test]
    fn only_one_harmless_request_can_be_decided_at_once() {
        let offered = |waiting: &[&WaitingApproval]| match text("s", waiting) {
            Step::Show { offer, .. } => offer,
            other => panic!("a notification: {other:?}"),
        };
        let mut reads = waits("s", "a");
        assert_eq!(offered(&[&reads]), Offer::Review, "it deletes");
        reads.approval.tool_name = "read_file".to_owned();
        let ask = Ask { message_id: "message".to_owned(), approval_id: "a".to_owned() };
        assert_eq!(offered(&[&reads]), Offer::Decide(ask));
        assert_eq!(offered(&[&reads, &waits("s", "b")]), Offer::Review);
        reads.approval.options = Some(Vec::new());
        assert_eq!(offered(&[&reads]), Offer::Review, "the agent has options of its own");
    }
}
