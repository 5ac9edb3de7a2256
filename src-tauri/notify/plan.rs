//! Decides which notifications to show and withdraw. No clock and no desktop: both are passed in.

use session_core::WaitingApproval;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// One thing to do on the desktop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// Show a notification for the session, in place of the one it has.
    Show { session: String, title: String, body: String },
    /// Take the session's notification away.
    Withdraw { session: String },
}

/// The person's knowledge of one session's approvals.
#[derive(Debug, Default)]
struct Known {
    /// The approvals that were announced, or that came before the person's eyes by themselves.
    ids: BTreeSet<String>,
    /// Whether a notification stands on the desktop.
    shown: bool,
}

/// The approvals and notifications that were seen and shown so far.
#[derive(Debug)]
pub(super) struct Plan {
    patience: Duration,
    /// Time at which each waiting approval (session, id) was first seen.
    since: BTreeMap<(String, String), Instant>,
    known: BTreeMap<String, Known>,
    due: Option<Instant>,
}

impl Plan {
    /// A plan that has seen nothing; an approval is announced after it has waited for `patience`.
    pub(super) fn new(patience: Duration) -> Self {
        Self { patience, since: BTreeMap::new(), known: BTreeMap::new(), due: None }
    }

    /// The steps to take now that `waiting` waits and the session `on_screen` is before the
    /// person's eyes.
    pub(super) fn next(
        &mut self,
        waiting: &[WaitingApproval],
        on_screen: Option<&str>,
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
            if on_screen == Some(*session) {
                known.ids.extend(all.iter().map(|one| one.approval.id.clone()));
                if std::mem::take(&mut known.shown) {
                    steps.push(Step::Withdraw { session: (*session).to_owned() });
                }
                continue;
            }
            let mut news = false;
            for one in all {
                let id = &one.approval.id;
                let key = ((*session).to_owned(), id.clone());
                let ready = *self.since.entry(key).or_insert(now) + self.patience;
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
        steps
    }

    /// The person turned notifications off.
    pub(super) fn withdraw_all(&mut self) -> Vec<Step> {
        self.due = None;
        let known = std::mem::take(&mut self.known).into_iter();
        known
            .filter(|(_, known)| known.shown)
            .map(|(session, _)| Step::Withdraw { session })
            .collect()
    }

    /// Waits until an approval will have waited long enough; for ever when none is on its way.
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

fn text(session: &str, waiting: &[&WaitingApproval]) -> Step {
    // A question is about no tool.
    let asks = |one: &&&WaitingApproval| one.approval.question.is_some();
    let only_questions = waiting.iter().all(|one| asks(&one));
    let need = if only_questions { "Question" } else { "Approval needed" };
    let title = match waiting.first().map(|one| one.session_title.trim()) {
        Some(title) if !title.is_empty() => format!("{need}: {title}"),
        _ => need.to_owned(),
    };
    let tool = waiting
        .iter()
        .filter(|one| !asks(one))
        .map(|one| one.approval.tool_name.as_str())
        .find(|name| !name.is_empty());
    let body = match (tool, waiting.len()) {
        (Some(tool), 0 | 1) => format!("An agent wants to use {tool}."),
        (Some(tool), all) => format!("An agent wants to use {tool} and {} more.", all - 1),
        (None, 1) if only_questions => "An agent has a question for you.".to_owned(),
        (None, all) if only_questions => format!("Agents have {all} questions for you."),
        (None, _) => "An agent waits for your answer.".to_owned(),
    };
    Step::Show { session: session.to_owned(), title, body }
}

#[cfg(test)]
mod tests {
    use super::*;
    use session_protocol::{Approval, ApprovalStatus};

    const PATIENCE: Duration = Duration::from_secs(1);

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
        assert!(plan.next(&[waits("s", "a")], None, start).is_empty());
        assert_eq!(plan.due, Some(start + PATIENCE));
        assert_eq!(shown(&plan.next(&[waits("s", "a")], None, start + PATIENCE)), ["s"]);
        assert!(plan.next(&[waits("s", "a")], None, start + PATIENCE * 2).is_empty());
    }

    #[test]
    fn an_approval_answered_at_once_never_flashes() {
        let (mut plan, start) = (Plan::new(PATIENCE), Instant::now());
        plan.next(&[waits("s", "a")], None, start);
        assert!(plan.next(&[], None, start + PATIENCE).is_empty());
    }

    #[test]
    fn withdraws_when_answered_elsewhere_or_when_it_comes_on_screen() {
        let (mut plan, start) = (Plan::new(PATIENCE), Instant::now());
        let both = [waits("s", "a"), waits("t", "b")];
        plan.next(&both, None, start);
        assert_eq!(shown(&plan.next(&both, None, start + PATIENCE)), ["s", "t"]);
        assert_eq!(plan.next(&both[..1], None, start + PATIENCE), withdrawn("t"));
        assert_eq!(plan.next(&both[..1], Some("s"), start + PATIENCE), withdrawn("s"));
        assert!(plan.next(&both[..1], None, start + PATIENCE * 3).is_empty(), "it was seen");
    }

    #[test]
    fn a_session_on_screen_is_not_announced_but_another_one_is() {
        let (mut plan, start) = (Plan::new(PATIENCE), Instant::now());
        let both = [waits("s", "a"), waits("t", "b")];
        plan.next(&both, Some("s"), start);
        assert_eq!(shown(&plan.next(&both, Some("s"), start + PATIENCE)), ["t"]);
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
        plan.next(&both[..1], None, start);
        plan.next(&both[..1], None, start + PATIENCE);
        plan.next(&both, None, start + PATIENCE);
        let steps = plan.next(&both, None, start + PATIENCE * 2);
        let [Step::Show { body, .. }] = steps.as_slice() else {
            panic!("one notification: {steps:?}")
        };
        assert_eq!(body, "An agent wants to use delete_file and 1 more.");
    }
}
