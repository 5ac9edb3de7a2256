//! The fold of a whole session: its collections and how they are read.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt;

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::bare::Bare;
use super::keys::row_key;
use super::message::MessageFold;
use super::presence::{Device, everyone};
use super::shared::SharedState;
use super::short::Texts;
use super::signals::Signals;
use super::totals::Totals;
use crate::row::{
    ActiveGeneration, Agent, AgentCommand, AgentOption, Approval, ApprovalStatus, Message, Part,
    Presence, PresenceRow, PresenceStatus, STALE_AFTER_SECONDS, SessionStats, ToolCall, parse_time,
};

/// Where an approval stands among the others: position, message, call.
pub(crate) type ApprovalKey = (u64, String, String);

/// The fold of one session: feed it the items of the stream, read its collections.
///
/// ```
/// use session_protocol::SessionFold;
///
/// let mut fold = SessionFold::new("chat");
/// let item = r#"{"type":"chunk","key":"u1:0","value":{"messageId":"u1","actorId":"alice",
///     "role":"user","seq":0,"createdAt":"2026-01-01T10:00:00Z",
///     "chunk":"{\"type\":\"whole-message\",\"message\":{\"id\":\"u1\",\"role\":\"user\",\"parts\":[{\"type\":\"text\",\"content\":\"Hi\"}]}}"},
///     "headers":{"operation":"insert"}}"#;
/// let changes = fold.apply([item], &mut ());
/// assert_eq!(changes.messages.len(), 1);
/// assert_eq!(fold.message("u1").map(|m| m.plain_text()).as_deref(), Some("Hi"));
/// ```
#[derive(Default)]
pub struct SessionFold {
    pub(super) session_id: String,
    /// By their ids, which are looked up with every row: the hasher is fast, and seeded anew in every process.
    pub(super) messages: foldhash::HashMap<String, MessageFold>,
    /// Messages in memory by position.
    pub(super) order: BTreeMap<u64, String>,
    pub(super) signals: Signals,
    pub(super) approvals: BTreeMap<ApprovalKey, Approval>,
    /// Positions of the requests of a call, by the key of its row.
    pub(super) requested: HashMap<String, BTreeSet<u64>>,
    pub(super) active: BTreeMap<String, ActiveGeneration>,
    pub(super) devices: BTreeMap<String, Device>,
    pub(super) agents: BTreeMap<String, Map<String, Value>>,
    /// States that agents share, by agent.
    pub(super) shared: BTreeMap<String, SharedState>,
    /// Rows of entity streams: `type/key` to message.
    pub(super) entities: HashMap<String, String>,
    /// Chunk keys that do not name their message.
    pub(super) strays: HashMap<String, String>,
    pub(super) totals: Totals,
    pub(super) settings: Map<String, Value>,
    pub(super) bare: Bare,
    /// Position of the next item.
    pub(super) next: u64,
    pub(super) malformed: u64,
    /// Stored log entries before this position are void: the session was reset there.
    pub(super) floor: u64,
    /// The position per message, until the store has deleted them.
    pub(super) dead: HashMap<String, u64>,
    /// The part of the texts that is kept.
    pub(super) texts: Texts,
    /// Messages whose rows are kept although texts are not.
    pub(super) whole: HashSet<String>,
    /// Messages with rows that could not be folded again.
    pub(super) torn: BTreeSet<String>,
    /// Bytes of the rows that are kept so.
    pub(super) kept: usize,
    /// Messages that somebody listens to, and to how many bytes of them.
    pub(super) listened: HashMap<String, usize>,
    /// Messages that were brought, made or changed since they were stored, where texts are not kept.
    pub(super) touched: BTreeSet<String>,
    /// When requests are withdrawn that nobody has looked at since.
    pub(super) expiries: BTreeSet<Timestamp>,
}

impl SessionFold {
    /// An empty session.
    pub fn new(session_id: &str) -> Self {
        Self { session_id: session_id.to_owned(), ..Self::default() }
    }

    /// An empty session that keeps no texts, for who runs its agents ([`Texts::Dropped`]). Of the messages in `whole`
    /// it keeps the rows, so that none of these is [torn](Self::torn).
    pub fn without_texts(session_id: &str, whole: HashSet<String>) -> Self {
        Self { texts: Texts::Dropped, whole, ..Self::new(session_id) }
    }

    /// Messages of which rows came late, changed or went, where texts are not kept: what is known of them may be wrong
    /// until the stream is read again with their rows kept ([`Self::without_texts`]). A message that is gone is not.
    pub fn torn(&self) -> impl Iterator<Item = &str> {
        self.torn.iter().map(String::as_str)
    }

    /// The session's id.
    pub fn session_id(&self) -> &str {
        &self.session_id
    }

    /// Whether a message of this id was deleted, and there is none now.
    pub fn was_deleted(&self, message_id: &str) -> bool {
        self.dead.contains_key(message_id) && !self.messages.contains_key(message_id)
    }

    /// When the next request is withdrawn, of those that nobody has looked at since. Only where texts are not kept.
    pub fn expires_next(&self) -> Option<Timestamp> {
        self.expiries.first().copied()
    }

    /// Whether requests were withdrawn since this was asked last.
    pub fn take_expired(&mut self, now: Timestamp) -> bool {
        let later = self.expiries.split_off(&now);
        let mut expired = std::mem::replace(&mut self.expiries, later);
        // What ends now has ended.
        expired.extend(self.expiries.take(&now));
        !expired.is_empty()
    }

    /// Keys of rows that there are, of messages that began before a position; at most so many. Only where texts are not
    /// kept.
    pub fn row_keys(&self, before: u64, most: usize) -> Vec<String> {
        let messages = self.order.range(..before).filter_map(|(_, id)| self.messages.get(id));
        messages.flat_map(|fold| fold.log.keys.iter(&fold.message.id)).take(most).collect()
    }

    /// A message that is in memory.
    pub fn message(&self, id: &str) -> Option<&Message> {
        self.messages.get(id).map(|fold| &fold.message)
    }

    /// The messages in memory, by position. Hidden ones are among them.
    pub fn messages(&self) -> impl Iterator<Item = &Message> {
        self.order.values().filter_map(|id| self.message(id))
    }

    /// Drops a message from memory. Its log must be known to the loader.
    pub fn evict(&mut self, id: &str) {
        if let Some(fold) = self.messages.remove(id) {
            self.order.remove(&fold.message.position);
        }
    }

    /// Drops the logs of all messages in memory, keeping the messages. From now on the loader must
    /// know every entry that left in a change set so far, and nothing of what was removed. Call it
    /// after each commit, so that a message streaming for hours holds its text once.
    pub fn release_logs(&mut self) {
        for fold in self.messages.values_mut() {
            fold.log.release();
        }
        self.dead.clear();
    }

    /// Releases logs as [`release_logs`](Self::release_logs) does, of those messages only whose ids are picked.
    pub fn release_logs_where(&mut self, which: impl Fn(&str) -> bool) {
        for (id, fold) in &mut self.messages {
            if which(id) {
                fold.log.release();
            }
        }
        self.dead.clear();
    }

    /// The messages in memory, by position. Hidden ones are among them.
    pub fn into_messages(mut self) -> impl Iterator<Item = Message> {
        let order = std::mem::take(&mut self.order).into_values();
        order.filter_map(move |id| self.messages.remove(&id).map(|fold| fold.message))
    }

    /// All approvals, oldest request first.
    pub fn approvals(&self) -> Vec<Approval> {
        self.approvals.values().cloned().collect()
    }

    /// Approvals nobody has answered and that are not withdrawn at `now`, oldest first.
    pub fn pending_approvals(&self, now: Timestamp) -> Vec<Approval> {
        let pending = |approval: &&Approval| {
            approval.status == ApprovalStatus::Pending && !approval.is_expired(now)
        };
        self.approvals.values().filter(pending).cloned().collect()
    }

    /// One approval by its id; the newest when several requests have the same id, of those in the
    /// message when one is named.
    pub fn approval(&self, approval_id: &str, message_id: Option<&str>) -> Option<Approval> {
        let mut sites = self.signals.requests_of(approval_id).iter();
        let site = sites.rfind(|site| message_id.is_none_or(|id| site.message == id))?;
        self.approvals.get(&(site.pos, site.message.clone(), site.call.clone())).cloned()
    }

    /// The tool calls of the messages in memory, in order.
    pub fn tool_calls(&self) -> Vec<ToolCall> {
        self.messages()
            .flat_map(|message| {
                message.parts.iter().filter_map(move |part| match part {
                    Part::ToolCall(call) => Some(ToolCall {
                        call: call.clone(),
                        message_id: message.id.clone(),
                        actor_id: message.actor_id.clone(),
                        created_at: message.created_at.clone(),
                    }),
                    _ => None,
                })
            })
            .collect()
    }

    /// The message that holds a call, also when it is not in memory; the newest when several do.
    pub fn tool_call_owner(&self, tool_call_id: &str) -> Option<&str> {
        self.signals.calls_of(tool_call_id).last().map(|site| site.message.as_str())
    }

    /// Messages being generated: incomplete and with a chunk less than
    /// [`STALE_AFTER_SECONDS`] before `now`. A chunk without a time counts as recent.
    pub fn active_generations(&self, now: Timestamp) -> Vec<ActiveGeneration> {
        self.active.values().filter(|active| is_fresh(active, now)).cloned().collect()
    }

    /// Messages that are incomplete, however long ago their last chunk came.
    pub fn incomplete(&self) -> Vec<ActiveGeneration> {
        self.active.values().cloned().collect()
    }

    /// Actors with at least one device online at `now`.
    pub fn presence(&self, now: Timestamp) -> Vec<Presence> {
        let mut all = everyone(&self.devices, now);
        all.retain(|actor| actor.status == PresenceStatus::Online);
        all
    }

    /// All actors ever seen, with those that are away or offline at `now`.
    pub fn everyone(&self, now: Timestamp) -> Vec<Presence> {
        everyone(&self.devices, now)
    }

    /// Presence as the stream has it: a row per device.
    pub fn presence_rows(&self) -> Vec<PresenceRow> {
        self.devices.iter().map(|(key, device)| device.row(key)).collect()
    }

    /// The registered agents, by id.
    pub fn agents(&self) -> Vec<Agent> {
        self.agents
            .iter()
            .map(|(id, value)| {
                let text = |name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
                Agent {
                    agent_id: id.clone(),
                    name: text("name"),
                    endpoint: text("endpoint"),
                    triggers: text("triggers"),
                    model: text("model"),
                    guest: value.get("guest") == Some(&Value::Bool(true)),
                    options: AgentOption::of_row(value),
                    commands: AgentCommand::of_row(value),
                }
            })
            .collect()
    }

    /// States that agents share, by agent: only those that have said something.
    pub fn shared(&self) -> impl Iterator<Item = (&str, &SharedState)> {
        let said = self.shared.iter().filter(|(_, state)| state.row().is_some());
        said.map(|(agent, state)| (agent.as_str(), state))
    }

    /// Figures of the session at `now`.
    pub fn stats(&self, now: Timestamp) -> SessionStats {
        let active = self.active.values().filter(|active| is_fresh(active, now)).count();
        self.totals.stats(&self.session_id, self.approvals.len() as u64, active as u64)
    }

    /// The title somebody gave the session (`config.title`), else `None`.
    pub fn title(&self) -> Option<&str> {
        self.settings.get("title").and_then(Value::as_str).filter(|title| !title.is_empty())
    }

    /// The settings written into the session (`config` chunks), merged.
    pub fn settings(&self) -> &Map<String, Value> {
        &self.settings
    }

    /// Number of items that were left out: malformed ones ever, and unreadable chunks of the messages
    /// that are there.
    pub fn skipped(&self) -> u64 {
        self.malformed.saturating_add(self.totals.bad)
    }

    /// Number of positions that were given out: the position the next item gets.
    pub fn position(&self) -> u64 {
        self.next
    }

    /// Ids of the messages in memory, by position.
    pub fn loaded(&self) -> impl Iterator<Item = &str> {
        self.order.values().map(String::as_str)
    }

    /// True while nothing was ever applied but repetitions and noise.
    pub fn is_empty(&self) -> bool {
        self.totals.messages == 0 && self.agents.is_empty() && self.devices.is_empty()
    }

    /// Notes an approval in its place; gives the one that was there.
    pub(super) fn put_approval(
        &mut self,
        key: ApprovalKey,
        approval: Approval,
    ) -> Option<Approval> {
        self.requested.entry(row_key(&key.1, &key.2)).or_default().insert(key.0);
        self.approvals.insert(key, approval)
    }

    pub(super) fn ids_in_memory(&self) -> HashSet<String> {
        self.messages.keys().cloned().collect()
    }
}

/// Whether a generation's last chunk is recent.
fn is_fresh(active: &ActiveGeneration, now: Timestamp) -> bool {
    match active.last_chunk_at.as_deref().and_then(parse_time) {
        Some(last) => now.as_second() - last.as_second() < STALE_AFTER_SECONDS,
        None => true,
    }
}

impl fmt::Debug for SessionFold {
    // L11: counts, not contents.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionFold")
            .field("session_id", &self.session_id)
            .field("messages", &self.messages.len())
            .field("approvals", &self.approvals.len())
            .field("position", &self.next)
            .finish_non_exhaustive()
    }
}
