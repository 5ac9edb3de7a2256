//! Keeping the index of calls, requests and signals up with the messages, and the messages with it.

use super::Collection;
use super::apply::Run;
use super::keys::{row_key, signal_key};
use super::message::{IndexEvent, MessageFold};
use super::session::ApprovalKey;
use super::short::Texts;
use super::signals::{Affected, Site};
use super::table::call_id;
use super::track::Tracker;
use crate::row::{Approval, ApprovalStatus, ToolState, parse_time};

impl Run<'_> {
    /// Notes calls, requests and signals of a message; says what may have changed elsewhere.
    pub(super) fn register(&mut self, id: &str, events: Vec<IndexEvent>) -> Vec<Affected> {
        let mut affected = Vec::new();
        for event in events {
            match event {
                IndexEvent::Call(call) => {
                    let Some(pos) = self.call_position(id, &call) else { continue };
                    let site = Site { pos, message: id.to_owned(), call: call.clone() };
                    if self.fold.signals.add_call(site) {
                        self.mark(Collection::Calls, row_key(id, &call));
                    }
                    self.said_of(&call, &mut affected);
                }
                IndexEvent::Request(call) => {
                    let request = self.fold.messages.get(id).and_then(|m| m.call(&call));
                    let Some(request) = request.and_then(|call| call.request.as_ref()) else {
                        continue;
                    };
                    let (approval, pos) = (request.approval.clone(), request.pos);
                    affected.extend(self.drop_requests(id, &call, Some(&approval)));
                    let site = Site { pos, message: id.to_owned(), call: call.clone() };
                    self.fold.signals.add_request(&approval, site);
                    if self.fold.signals.has_answers(&approval) {
                        affected.push(Affected::Approval(approval));
                    }
                    self.update_approval(id, &call);
                }
                IndexEvent::Touched(call) => {
                    let known = self.fold.messages.get(id).is_some_and(|m| m.call(&call).is_some());
                    if known {
                        self.update_approval(id, &call);
                    } else {
                        affected.extend(self.drop_requests(id, &call, None));
                        if self.fold.signals.remove_call(&call, id) {
                            self.mark(Collection::Calls, row_key(id, &call));
                            affected.push(Affected::Call(call_id(&call).to_owned()));
                        }
                    }
                    self.tool_calls.insert(call_id(&call).to_owned());
                }
                IndexEvent::Signal(signal) => {
                    self.mark(Collection::Signals, signal_key((signal.pos, signal.nth)));
                    affected.push(self.fold.signals.add(signal));
                }
            }
        }
        affected
    }

    /// Notes that calls with the id of this one changed, and what was said of them may.
    fn said_of(&mut self, call: &str, affected: &mut Vec<Affected>) {
        let id = call_id(call);
        if self.fold.signals.has_results(id) {
            affected.push(Affected::Call(id.to_owned()));
        }
        self.tool_calls.insert(id.to_owned());
    }

    fn call_position(&self, id: &str, call: &str) -> Option<u64> {
        Some(self.fold.messages.get(id)?.call(call)?.pos)
    }

    /// Forgets the requests of a call, but for the one of this approval id at its present place.
    /// Says what may have changed elsewhere: requests of the same id in other messages.
    fn drop_requests(&mut self, id: &str, call: &str, but: Option<&str>) -> Vec<Affected> {
        let place =
            but.and_then(|_| Some(self.fold.messages.get(id)?.call(call)?.request.as_ref()?.pos));
        let row = row_key(id, call);
        let asked = self.fold.requested.get(&row).into_iter().flatten();
        let asked = asked.map(|pos| (*pos, id.to_owned(), call.to_owned()));
        let gone: Vec<ApprovalKey> = asked
            .filter(|key| {
                let approval = self.fold.approvals.get(key);
                approval.is_some_and(|approval| {
                    but != Some(approval.id.as_str()) || place != Some(key.0)
                })
            })
            .collect();
        let mut affected = Vec::new();
        for key in gone {
            if let Some(approval) = self.fold.approvals.remove(&key) {
                if let Some(asked) = self.fold.requested.get_mut(&row) {
                    asked.remove(&key.0);
                    if asked.is_empty() {
                        self.fold.requested.remove(&row);
                    }
                }
                self.fold.signals.remove_request(&approval.id, id, call);
                if self.fold.signals.has_answers(&approval.id) {
                    affected.push(Affected::Approval(approval.id.clone()));
                }
                self.mark(Collection::Requests, row_key(id, call));
                self.approvals.remove(&key);
                self.out.removed_approvals.push(approval.id);
                self.out.stats_changed = true;
            }
        }
        affected
    }

    /// Forgets all calls, requests and signals of a message; says what may have changed elsewhere.
    pub(super) fn withdraw(&mut self, id: &str) -> Vec<Affected> {
        let mut affected = Vec::new();
        let Some(message) = self.fold.messages.get(id) else { return affected };
        let calls: Vec<String> = message.calls().map(|(call, _)| call.clone()).collect();
        let given = message.given().to_vec();
        for call in calls {
            affected.extend(self.drop_requests(id, &call, None));
            if self.fold.signals.remove_call(&call, id) {
                self.mark(Collection::Calls, row_key(id, &call));
            }
            self.said_of(&call, &mut affected);
        }
        for at in given {
            if let Some(what) = self.fold.signals.remove(at) {
                self.mark(Collection::Signals, signal_key(at));
                affected.push(what);
            }
        }
        affected
    }

    /// Gives calls and requests what the index now says.
    pub(super) fn resolve(&mut self, affected: Vec<Affected>) {
        for what in affected {
            match what {
                Affected::Call(call) => {
                    let sites = self.fold.signals.calls_of(&call).to_vec();
                    for site in sites {
                        let outcome = self.fold.signals.outcome(&site.message, &site.call);
                        self.change(&site.message, |message, tracker| {
                            message.set_foreign(&site.call, outcome, tracker);
                        });
                    }
                }
                Affected::Approval(approval) => {
                    let sites = self.fold.signals.requests_of(&approval).to_vec();
                    for site in sites {
                        let answer = self.fold.signals.answer(&approval, &site.message, &site.call);
                        self.change(&site.message, |message, tracker| {
                            message.set_answer(&site.call, answer, tracker);
                        });
                        // The call may look the same: who else answered so, or when, is not in it.
                        let message = self.fold.messages.get(&site.message);
                        if message.is_some_and(|message| !message.dirty) {
                            self.update_approval(&site.message, &site.call);
                        }
                    }
                }
                Affected::Config => {
                    let settings = self.fold.signals.settings();
                    if settings != self.fold.settings {
                        self.fold.settings = settings;
                        self.out.meta_changed = true;
                    }
                }
            }
        }
    }

    /// Changes calls of a message, which may have to be brought first.
    fn change(&mut self, id: &str, with: impl FnOnce(&mut MessageFold, &mut Tracker)) {
        let was_here = self.fold.messages.contains_key(id);
        if !self.bring(id) {
            return;
        }
        let Some(message) = self.fold.messages.get_mut(id) else { return };
        if message.dirty {
            // The refold at the end looks again.
            return;
        }
        if !was_here {
            // It was folded with the index as it is now; what the reader has of its calls is older.
            let calls: Vec<(String, usize)> =
                message.calls().map(|(call, state)| (call.clone(), state.part)).collect();
            for (call, part) in calls {
                self.tracker.set_part(id, part);
                self.update_approval(id, &call);
                self.tool_calls.insert(call_id(&call).to_owned());
            }
            return;
        }
        with(message, &mut self.tracker);
        let events = message.take_outbox();
        let affected = self.register(id, events);
        debug_assert!(affected.is_empty(), "a call's result never says anything new");
    }

    /// Brings the approval of a call up to date.
    pub(super) fn update_approval(&mut self, id: &str, call: &str) {
        let Some(message) = self.fold.messages.get(id) else { return };
        let Some(approval) = approval_of(message, call) else { return };
        let key = (approval.1, id.to_owned(), call.to_owned());
        let approval = approval.0;
        match self.fold.approvals.get(&key) {
            Some(old) if *old == approval => return,
            Some(_) => {}
            None => self.out.stats_changed = true,
        }
        if self.fold.texts == Texts::Dropped {
            let end = approval.expires_at.as_deref().and_then(parse_time);
            self.fold.expiries.extend(end.filter(|_| approval.status == ApprovalStatus::Pending));
        }
        self.fold.put_approval(key.clone(), approval);
        self.mark(Collection::Requests, row_key(id, call));
        self.approvals.insert(key);
    }
}

/// The approval of a call or a question, and the position of its request.
fn approval_of(message: &MessageFold, key: &str) -> Option<(Approval, u64)> {
    let call = message.call(key)?;
    let request = call.request.as_ref()?;
    let part = message.call_part(key);
    let state = part.map(|part| part.state);
    // Pending is: no answer, no result, no denial, and nobody stopped the message.
    let status = match (&call.answer, state) {
        (Some(answer), _) if answer.approved => ApprovalStatus::Approved,
        (Some(_), _) | (None, Some(ToolState::Denied)) => ApprovalStatus::Denied,
        // Where the agent asks inside its run, only an answer grants.
        (None, Some(ToolState::Done | ToolState::Failed)) if request.options.is_some() => {
            ApprovalStatus::Denied
        }
        (None, Some(ToolState::Done | ToolState::Failed)) => ApprovalStatus::Approved,
        // Whoever stopped it does not want it to go on.
        (None, _) if message.is_stopped() => ApprovalStatus::Denied,
        (None, _) => ApprovalStatus::Pending,
    };
    let name = part.map(|part| part.name.clone()).filter(|name| !name.is_empty());
    let chosen = call.answer.as_ref().and_then(|answer| answer.chosen.as_deref());
    let approval = Approval {
        id: request.approval.clone(),
        tool_call_id: call_id(key).to_owned(),
        message_id: message.message.id.clone(),
        tool_name: name.or_else(|| request.name.clone()).unwrap_or_default(),
        input: request.input.clone().or_else(|| part.and_then(|part| part.input.clone())),
        status,
        requested_by: request.by.clone(),
        requested_at: request.at.clone(),
        responded_by: call.answer.as_ref().and_then(|answer| answer.by.clone()),
        responded_at: call.answer.as_ref().and_then(|answer| answer.at.clone()),
        question: request.question.clone(),
        expires_at: request.expires_at.clone(),
        options: request.options.clone(),
        option_id: chosen.and_then(|chosen| chosen.option.clone()),
        reason: chosen.and_then(|chosen| chosen.reason.clone()),
    };
    Some((approval, request.pos))
}
