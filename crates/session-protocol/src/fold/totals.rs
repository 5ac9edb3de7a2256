//! The figures of a session, kept up by what each message counts for.

use serde::{Deserialize, Serialize};

use super::message::Weight;
use crate::row::{Role, SessionStats, Usage, is_later};

/// Sums over all messages.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Totals {
    pub(crate) messages: u64,
    users: u64,
    assistants: u64,
    calls: u64,
    usage: Usage,
    pub(crate) bad: u64,
    first: Option<String>,
    last: Option<String>,
    /// Set when the oldest or newest message may be gone.
    #[serde(skip)]
    pub(crate) stale: bool,
}

impl Totals {
    /// Replaces what a message counts for.
    pub(crate) fn replace(&mut self, old: Weight, new: Weight) {
        let mut add = |sum: fn(&mut Self) -> &mut u64, old: u64, new: u64| {
            let sum = sum(self);
            *sum = sum.saturating_sub(old).saturating_add(new);
        };
        let of = |weight: Weight, role: Role| u64::from(weight.shown && weight.role == role);
        add(|t| &mut t.messages, u64::from(old.shown), u64::from(new.shown));
        add(|t| &mut t.users, of(old, Role::User), of(new, Role::User));
        add(|t| &mut t.assistants, of(old, Role::Assistant), of(new, Role::Assistant));
        add(|t| &mut t.calls, old.calls, new.calls);
        add(|t| &mut t.usage.prompt_tokens, old.usage.prompt_tokens, new.usage.prompt_tokens);
        add(
            |t| &mut t.usage.completion_tokens,
            old.usage.completion_tokens,
            new.usage.completion_tokens,
        );
        add(|t| &mut t.usage.total_tokens, old.usage.total_tokens, new.usage.total_tokens);
        add(|t| &mut t.bad, old.bad, new.bad);
    }

    /// Replaces a message's time; `None` when it has none or is not shown.
    pub(crate) fn replace_time(&mut self, old: Option<&str>, new: Option<&str>) {
        if let Some(old) = old
            && (self.first.as_deref() == Some(old) || self.last.as_deref() == Some(old))
        {
            self.stale = true;
        }
        if let Some(new) = new {
            self.see(new);
        }
    }

    /// Widens the span of times.
    pub(crate) fn see(&mut self, time: &str) {
        if self.first.as_deref().is_none_or(|first| is_later(first, time)) {
            self.first = Some(time.to_owned());
        }
        if self.last.as_deref().is_none_or(|last| is_later(time, last)) {
            self.last = Some(time.to_owned());
        }
    }

    /// Forgets the span, to be seen anew.
    pub(crate) fn forget_times(&mut self) {
        self.first = None;
        self.last = None;
        self.stale = false;
    }

    pub(crate) fn stats(&self, session_id: &str, approvals: u64, active: u64) -> SessionStats {
        SessionStats {
            session_id: session_id.to_owned(),
            message_count: self.messages,
            user_message_count: self.users,
            assistant_message_count: self.assistants,
            tool_call_count: self.calls,
            approval_count: approvals,
            total_tokens: self.usage.total_tokens,
            prompt_tokens: self.usage.prompt_tokens,
            completion_tokens: self.usage.completion_tokens,
            active_generation_count: active,
            first_message_at: self.first.clone(),
            last_message_at: self.last.clone(),
        }
    }
}
