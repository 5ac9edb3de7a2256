//! Table `search`: the full-text index over messages.
//!
//! Table `search_parts` beside it has the parts of identifiers, which are found after whole words.
//!
//! Both hold no text, only places of words. A document's rowid says which message it is, so no
//! table maps one to the other, and a session's documents lie together.

use std::collections::{HashMap, HashSet};

use rusqlite::{Connection, OptionalExtension, params};
use session_protocol::Message;
use unicode_normalization::UnicodeNormalization;

use super::key::{SessionKey, as_sql};
use crate::summary::UNTITLED;
use crate::words::{Query, SearchText};

/// Positions are below 2^40; so are sessions below 2^23.
const POSITION_BITS: u32 = 40;

/// Weights of a match in what is said, in tools and in thoughts.
const WEIGHTS: &str = "4.0, 2.0, 1.0";

/// Number of matching messages that are ranked, the newest; older ones follow by age. Ranking looks
/// at every place of every word, and of a word that is everywhere the rank says nothing.
const RANKED: usize = 300;

/// The indexes.
const TABLES: [&str; 2] = ["search", "search_parts"];

/// The document of a message.
fn rowid(session: i64, position: i64) -> i64 {
    (session << POSITION_BITS) | (position & ((1 << POSITION_BITS) - 1))
}

/// Indexes a message anew; an empty text takes it out.
pub(super) fn put(
    connection: &Connection,
    session: i64,
    position: u64,
    text: &SearchText,
) -> rusqlite::Result<()> {
    if text.is_empty() {
        return remove(connection, session, as_sql(position));
    }
    let rowid = rowid(session, as_sql(position));
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO search (rowid, said, tools, thought) VALUES (?1, ?2, ?3, ?4)",
        )?
        .execute(params![rowid, text.said, text.tools, text.thought])?;
    let parts = text.parts();
    if parts.is_empty() {
        connection.prepare_cached("DELETE FROM search_parts WHERE rowid = ?1")?.execute([rowid])?;
    } else {
        connection
            .prepare_cached("INSERT OR REPLACE INTO search_parts (rowid, parts) VALUES (?1, ?2)")?
            .execute(params![rowid, parts])?;
    }
    Ok(())
}

/// Takes a message out of the index.
pub(super) fn remove(connection: &Connection, session: i64, position: i64) -> rusqlite::Result<()> {
    for table in TABLES {
        connection
            .prepare_cached(&format!("DELETE FROM {table} WHERE rowid = ?1"))?
            .execute([rowid(session, position)])?;
    }
    Ok(())
}

/// Takes all messages of a session out of the index.
pub(super) fn remove_session(connection: &Connection, session: SessionKey) -> rusqlite::Result<()> {
    for table in TABLES {
        connection.execute(
            &format!("DELETE FROM {table} WHERE rowid >= ?1 AND rowid < ?2"),
            [rowid(session.0, 0), rowid(session.0 + 1, 0)],
        )?;
    }
    Ok(())
}

/// Makes the index from the stored messages.
pub(super) fn rebuild(connection: &Connection) -> rusqlite::Result<()> {
    for table in TABLES {
        connection.execute(&format!("INSERT INTO {table} ({table}) VALUES ('delete-all')"), [])?;
    }
    let mut messages =
        connection.prepare("SELECT session, position, row FROM messages WHERE hidden = 0")?;
    let mut rows = messages.query([])?;
    while let Some(row) = rows.next()? {
        // A row that cannot be read is indexed when it is written again.
        if let Ok(message) = serde_json::from_str::<Message>(row.get_ref(2)?.as_str()?) {
            let position = u64::try_from(row.get::<_, i64>(1)?).unwrap_or(0);
            put(connection, row.get(0)?, position, &SearchText::of(&message).spaced())?;
        }
    }
    Ok(())
}

/// A message that was found, with its session's id and title.
pub(crate) struct FoundMessage {
    pub(crate) session: String,
    pub(crate) title: String,
    pub(crate) row: String,
}

/// Number of matches, and the page that was asked for.
#[derive(Default)]
pub(crate) struct Found {
    pub(crate) page: Vec<FoundMessage>,
    pub(crate) total: u32,
    pub(crate) sessions: u32,
}

/// Messages that have every term, the best first.
pub(crate) fn find(
    connection: &Connection,
    query: &Query,
    session: Option<SessionKey>,
    offset: usize,
    limit: usize,
) -> rusqlite::Result<Found> {
    let (from, to) = session.map_or((0, i64::MAX), |key| (rowid(key.0, 0), rowid(key.0 + 1, 0)));
    let mut ranked = match query.expression() {
        Some(expression) => by_words(connection, &expression, from, to)?,
        None => Vec::new(),
    };
    by_parts(connection, query, from, to, &mut ranked)?;
    if ranked.is_empty() {
        ranked = by_text(connection, query, session)?;
    }
    let sessions: HashSet<i64> = ranked.iter().map(|rowid| rowid >> POSITION_BITS).collect();
    let mut titles = HashMap::new();
    let mut page = Vec::new();
    for rowid in ranked.iter().skip(offset).take(limit) {
        page.extend(load(connection, *rowid, &mut titles)?);
    }
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    Ok(Found { page, total: count(ranked.len()), sessions: count(sessions.len()) })
}

/// The documents that match, in order.
fn by_words(
    connection: &Connection,
    expression: &str,
    from: i64,
    to: i64,
) -> rusqlite::Result<Vec<i64>> {
    let mut all: Vec<i64> = connection
        .prepare_cached(
            "SELECT rowid FROM search WHERE search MATCH ?1 AND rowid >= ?2 AND rowid < ?3
             ORDER BY rowid DESC",
        )?
        .query_map(params![expression, from, to], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    let newest = all.len().min(RANKED);
    if newest < 2 {
        return Ok(all);
    }
    let sql = format!(
        "SELECT bm25(search, {WEIGHTS}), rowid FROM search
         WHERE search MATCH ?1 AND rowid >= ?2 AND rowid < ?3"
    );
    let mut ranked: Vec<(f64, i64)> = connection
        .prepare_cached(&sql)?
        .query_map(params![expression, all[newest - 1], to], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<_>>()?;
    ranked.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(b.1.cmp(&a.1)));
    for (place, (_, rowid)) in all.iter_mut().zip(ranked) {
        *place = rowid;
    }
    Ok(all)
}

/// Adds the messages that have every term when parts of identifiers count, the newest first; at
/// most [`RANKED`].
fn by_parts(
    connection: &Connection,
    query: &Query,
    from: i64,
    to: i64,
    ranked: &mut Vec<i64>,
) -> rusqlite::Result<()> {
    let Some(terms) = query.expressions() else { return Ok(()) };
    let matching = |table: &str, term: &str| -> rusqlite::Result<HashSet<i64>> {
        connection
            .prepare_cached(&format!(
                "SELECT rowid FROM {table} WHERE {table} MATCH ?1 AND rowid >= ?2 AND rowid < ?3
                 ORDER BY rowid DESC"
            ))?
            .query_map(params![term, from, to], |row| row.get(0))?
            .collect()
    };
    let parts = terms
        .iter()
        .map(|term| matching("search_parts", term))
        .collect::<rusqlite::Result<Vec<_>>>()?;
    if parts.iter().all(HashSet::is_empty) {
        return Ok(());
    }
    let mut all: Option<HashSet<i64>> = None;
    for (term, mut found) in terms.iter().zip(parts) {
        if terms.len() > 1 {
            found.extend(matching("search", term)?);
        }
        all = Some(match all {
            None => found,
            Some(all) => all.intersection(&found).copied().collect(),
        });
    }
    let known: HashSet<i64> = ranked.iter().copied().collect();
    let mut more: Vec<i64> =
        all.into_iter().flatten().filter(|rowid| !known.contains(rowid)).collect();
    more.sort_unstable_by(|a, b| b.cmp(a));
    more.truncate(RANKED);
    ranked.append(&mut more);
    Ok(())
}

/// The messages whose text has every term as it stands, the newest first; at most [`RANKED`].
fn by_text(
    connection: &Connection,
    query: &Query,
    session: Option<SessionKey>,
) -> rusqlite::Result<Vec<i64>> {
    let sessions: Vec<i64> = match session {
        Some(key) => vec![key.0],
        None => connection
            .prepare_cached("SELECT n FROM sessions WHERE deleted = 0 ORDER BY n DESC")?
            .query_map([], |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?,
    };
    // `row` is JSON: a term is looked for as JSON writes it, and what is found is looked at again.
    let mut sql =
        String::from("SELECT position, row FROM messages WHERE session = ?1 AND hidden = 0");
    let mut values: Vec<rusqlite::types::Value> = vec![0.into()];
    for term in query.raw() {
        // The text may be written in either form.
        let forms = [term.to_owned(), term.nfd().collect()];
        for (n, form) in forms.iter().enumerate() {
            let json = serde_json::Value::from(form.as_str()).to_string();
            let pattern =
                json[1..json.len() - 1].replace('!', "!!").replace('%', "!%").replace('_', "!_");
            values.push(format!("%{pattern}%").into());
            let (before, after) = [(" AND (", ""), (" OR ", ")")][n];
            sql.push_str(&format!("{before}row LIKE ?{} ESCAPE '!'{after}", values.len()));
        }
    }
    sql.push_str(" ORDER BY position DESC");
    let mut statement = connection.prepare_cached(&sql)?;
    let mut found = Vec::new();
    for session in sessions {
        values[0] = session.into();
        let mut rows = statement.query(rusqlite::params_from_iter(&values))?;
        while let Some(row) = rows.next()? {
            let json = row.get_ref(1)?.as_str().unwrap_or_default();
            let Ok(message) = serde_json::from_str::<Message>(json) else { continue };
            if query.is_in(&SearchText::of(&message)) {
                found.push(rowid(session, row.get(0)?));
                if found.len() == RANKED {
                    return Ok(found);
                }
            }
        }
    }
    Ok(found)
}

fn load(
    connection: &Connection,
    rowid: i64,
    titles: &mut HashMap<i64, Option<(String, String)>>,
) -> rusqlite::Result<Option<FoundMessage>> {
    let session = rowid >> POSITION_BITS;
    if let std::collections::hash_map::Entry::Vacant(entry) = titles.entry(session) {
        let found = connection
            .prepare_cached("SELECT id, title FROM sessions WHERE n = ?1 AND deleted = 0")?
            .query_row([session], |row| {
                let title: Option<String> = row.get(1)?;
                Ok((row.get(0)?, title.unwrap_or_else(|| UNTITLED.to_owned())))
            })
            .optional()?;
        entry.insert(found);
    }
    let Some((id, title)) = titles.get(&session).and_then(Option::as_ref) else { return Ok(None) };
    connection
        .prepare_cached(
            // Without being told, the planner reads the whole session.
            "SELECT row FROM messages INDEXED BY messages_in_order
             WHERE session = ?1 AND hidden = 0 AND position = ?2",
        )?
        .query_row([session, rowid & ((1 << POSITION_BITS) - 1)], |row| {
            Ok(FoundMessage { session: id.clone(), title: title.clone(), row: row.get(0)? })
        })
        .optional()
}
