//! Search over everything that was said in all sessions, offline.
//!
//! ```text
//! what is typed ─▶ terms ─▶ full-text index ─▶ ranked rowids ─▶ a page of them ─▶ messages ─▶ snippets
//! ```
//!
//! The index is written in the transaction that writes a message's row, so it is never behind what
//! the store shows (a message that is still being written is found by the words that stood in it
//! when its row was last rewritten, which happens whenever it has grown by half, and at its end).
//! Every term must be in a message; the last letters of a word may be missing. Hits are ranked by
//! bm25, what is said before tools and thoughts, and the newest first among equals; when there are
//! very many, only the newest are ranked. Behind them are messages that have a word as a part of an
//! identifier (`user` in `getUserName`), the newest first. When no message has the words, the text
//! is looked through for the query as it stands: a part of a word, a sign, an emoji. Text and query
//! are compared in their composed form (NFC).

mod snippet;

use std::fmt;
use std::sync::Mutex;

use serde::{Deserialize, Serialize};
use session_protocol::{Message, Role};
use ts_rs::TS;

use crate::list::SessionList;
use crate::lock::lock;
use crate::store::{FoundMessage, Store, StoreError, search, sessions};
use crate::summary::SessionSummary;
use crate::words::{Query, SearchRange, SearchText, TitleFilter};

/// A search.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
#[ts(export)]
pub struct SearchRequest {
    /// Text that the person typed: words, or phrases in quotes. Any text is valid.
    pub query: String,
    /// Id of the only session that is looked through; `None`: all are.
    pub session_id: Option<String>,
    /// Number of hits to leave out: those of earlier pages.
    pub offset: u32,
    /// Number of hits to give, at most 200.
    pub limit: u32,
}

/// A page of hits.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
#[ts(export)]
pub struct SearchPage {
    /// Sessions whose title has every word, also inside its words; the most recently active first,
    /// at most 20. Only on the first page of a search in all sessions.
    pub titles: Vec<TitleHit>,
    /// The best first.
    pub hits: Vec<SearchHit>,
    /// Number of messages in all. Of parts of words at most 300 are counted.
    pub total: u32,
    /// Number of sessions that they are in.
    pub sessions: u32,
}

/// A session whose title was found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
#[ts(export)]
pub struct TitleHit {
    /// The session.
    pub session: SessionSummary,
    /// Places of the words in the title, in order, apart from each other.
    pub ranges: Vec<SearchRange>,
}

/// A message that was found.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
#[ts(export)]
pub struct SearchHit {
    /// The session it is in.
    pub session_id: String,
    /// Title of the session.
    pub session_title: String,
    /// The message; a window can be opened around it.
    pub message_id: String,
    /// Whose side it is on.
    pub role: Role,
    /// Id of the author.
    pub actor_id: Option<String>,
    /// Time of the message, RFC 3339.
    pub at: Option<String>,
    /// The part of the message that matched.
    pub field: SearchField,
    /// The text around the first match, on one line; plain text, never HTML.
    pub snippet: String,
    /// Places of the matches in the snippet, in order, apart from each other.
    pub ranges: Vec<SearchRange>,
}

/// A part of a message that can match.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
#[ts(export)]
pub enum SearchField {
    /// Text.
    Text,
    /// A tool's name or arguments.
    Tool,
    /// Thoughts of the model.
    Reasoning,
}

// L11: queries and snippets are what people wrote.
impl fmt::Debug for SearchRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SearchRequest")
            .field("session_id", &self.session_id)
            .field("offset", &self.offset)
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for SearchHit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SearchHit")
            .field("session_id", &self.session_id)
            .field("message_id", &self.message_id)
            .field("field", &self.field)
            .field("ranges", &self.ranges)
            .finish_non_exhaustive()
    }
}

/// The most hits of one page.
const MAX_LIMIT: u32 = 200;

/// The most titles of one page.
const MAX_TITLES: usize = 20;

/// The sessions whose titles are found.
pub(crate) fn titles(list: &Mutex<SessionList>, request: &SearchRequest) -> Vec<TitleHit> {
    let filter = TitleFilter::parse(&request.query);
    let Some(filter) = filter.filter(|_| request.session_id.is_none() && request.offset == 0)
    else {
        return vec![];
    };
    let mut sessions = lock(list).titled(&filter);
    sessions.truncate(MAX_TITLES);
    sessions
        .into_iter()
        .map(|session| TitleHit { ranges: filter.ranges(&session.title), session })
        .collect()
}

/// Runs a search on the store; blocks for some milliseconds.
pub(crate) fn run(store: &Store, request: &SearchRequest) -> Result<SearchPage, StoreError> {
    let query = Query::parse(&request.query);
    if query.is_empty() {
        return Ok(SearchPage::default());
    }
    let limit = request.limit.min(MAX_LIMIT) as usize;
    let found = store.read(|connection| {
        let session = match &request.session_id {
            None => None,
            Some(id) => match sessions::find(connection, id)? {
                Some(row) => Some(row.key),
                None => return Ok(search::Found::default()),
            },
        };
        search::find(connection, &query, session, request.offset as usize, limit)
    })?;
    let hits = found.page.into_iter().filter_map(|found| hit(found, &query)).collect();
    let (total, sessions) = (found.total, found.sessions);
    Ok(SearchPage { titles: vec![], hits, total, sessions })
}

fn hit(found: FoundMessage, query: &Query) -> Option<SearchHit> {
    let message: Message = serde_json::from_str(&found.row).ok()?;
    let snippet = snippet::of(&SearchText::of(&message), query);
    Some(SearchHit {
        session_id: found.session,
        session_title: found.title,
        message_id: message.id,
        role: message.role,
        actor_id: message.actor_id,
        at: message.created_at,
        field: snippet.field,
        snippet: snippet.text,
        ranges: snippet.ranges,
    })
}
