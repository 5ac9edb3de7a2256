//! The full-text index is what the messages say, whatever happens to them.

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::json;

use super::{chunk, commit, crash, delta, finish, folder, open, say, take_in, with};
use crate::search::{self, SearchField, SearchPage, SearchRequest};
use crate::session::state::Session;

fn find(session: &Session, query: &str) -> SearchPage {
    let request = SearchRequest { query: query.to_owned(), session_id: None, offset: 0, limit: 50 };
    search::run(&session.shared.store, &request).expect("nothing typed is an error")
}

fn ids(session: &Session, query: &str) -> Vec<String> {
    find(session, query).hits.into_iter().map(|hit| hit.message_id).collect()
}

#[tokio::test]
async fn what_was_said_is_found_by_words_beginnings_and_phrases() {
    let dir = folder();
    let log = [
        say(1, "Where is the Café in Zürich?"),
        say(2, "call my_function(argument) twice"),
        say(3, "the cat sat on the mat"),
        say(4, "on the mat the cat did not sit"),
    ];
    let session = with(&dir, &log).await;
    assert_eq!(ids(&session, "cafe zurich"), ["m1"]);
    assert_eq!(ids(&session, "zür"), ["m1"]);
    assert_eq!(ids(&session, "my_func"), ["m2"]);
    assert_eq!(ids(&session, "\"sat on the mat\""), ["m3"]);
    assert_eq!(ids(&session, "mat cat").len(), 2);
    assert_eq!(ids(&session, "mat dog").len(), 0);
    // A part of a word, when no word begins with it.
    assert_eq!(ids(&session, "rgumen"), ["m2"]);
    let page = find(&session, "cafe");
    assert_eq!((page.total, page.sessions), (1, 1));
    let hit = &page.hits[0];
    let marked: Vec<_> = hit.ranges.iter().map(|r| (r.start, r.end)).collect();
    assert_eq!((hit.snippet.as_str(), marked), ("Where is the Café in Zürich?", vec![(13, 17)]));
}

#[tokio::test]
async fn scripts_without_spaces_are_found_by_any_part() {
    let dir = folder();
    let log = [
        say(1, "明日の天気予報を教えてください"),
        say(2, "今日は良い日です"),
        say(3, "오늘 날씨가 어때요"),
        say(4, "วันนี้อากาศดี"),
        say(5, "🙂 done 100%_"),
    ];
    let session = with(&dir, &log).await;
    assert_eq!(ids(&session, "天気"), ["m1"]);
    assert_eq!(ids(&session, "気"), ["m1"]);
    assert_eq!(ids(&session, "気天").len(), 0);
    assert_eq!(ids(&session, "日").len(), 2);
    assert_eq!(ids(&session, "날씨"), ["m3"]);
    assert_eq!(ids(&session, "อากาศ"), ["m4"]);
    assert_eq!(ids(&session, "🙂"), ["m5"]);
    assert_eq!(ids(&session, "100%_"), ["m5"]);
}

#[tokio::test]
async fn text_and_query_are_found_in_whatever_form_they_are_written() {
    use unicode_normalization::UnicodeNormalization;
    let dir = folder();
    let nfd = |text: &str| text.nfd().collect::<String>();
    let log = [
        say(1, &nfd("회의록_최종.pdf 를 봤어요")),
        say(2, "회의록 은 어디에 있나요"),
        say(3, &nfd("Café à Zürich, ガ")),
        say(4, "Tiếng Việt"),
    ];
    let session = with(&dir, &log).await;
    for (query, all) in [
        ("회의록", &["m1", "m2"][..]),
        ("의록", &["m1", "m2"]),
        ("최종", &["m1"]),
        ("café", &["m3"]),
        ("ガ", &["m3"]),
        ("tiếng việt", &["m4"]),
        // A part of a word, which only the text itself has.
        ("üric", &["m3"]),
    ] {
        for query in [query.to_owned(), nfd(query)] {
            let mut found = ids(&session, &query);
            found.sort();
            assert_eq!(found, all, "{query}");
        }
    }
    let hit = &find(&session, &nfd("회의록")).hits;
    assert!(
        hit.iter().all(|hit| hit.ranges.first().is_some_and(|range| range.end - range.start == 3))
    );
}

#[tokio::test]
async fn parts_of_identifiers_are_found_behind_whole_words() {
    let dir = folder();
    let log = [
        say(1, "call getUserName(id) of HTTPServer"),
        say(2, "the user has a name"),
        say(3, "src/user_store.rs, not the Username"),
        say(4, "a server"),
    ];
    let session = with(&dir, &log).await;
    // What has it as a word, in the order of before, then what has it as a part.
    let mut user = ids(&session, "user");
    assert_eq!(user.pop().as_deref(), Some("m1"));
    user.sort();
    assert_eq!(user, ["m2", "m3"]);
    assert_eq!(ids(&session, "server"), ["m4", "m1"]);
    assert_eq!(ids(&session, "usernam").len(), 2, "across parts");
    assert_eq!(ids(&session, "name call"), ["m1"], "one a part, the other a word");
    assert_eq!(ids(&session, "store"), ["m3"]);
    let page = find(&session, "user");
    let hit = page.hits.last().expect("the part");
    assert_eq!((hit.ranges[0].start, hit.ranges[0].end), (8, 12));
    assert_eq!(page.total, 3);
}

#[tokio::test]
async fn tools_and_thoughts_are_found_after_what_was_said() {
    let dir = folder();
    let call =
        json!({"type": "TOOL_CALL_START", "toolCallId": "c", "toolCallName": "read_lighthouse"});
    let args =
        json!({"type": "TOOL_CALL_ARGS", "toolCallId": "c", "delta": "{\"path\":\"/harbour\"}"});
    let log = [
        chunk(1, 0, "bot", "assistant", &call),
        chunk(1, 1, "bot", "assistant", &args),
        finish(1, 2),
        say(2, "a lighthouse"),
    ];
    let session = with(&dir, &log).await;
    assert_eq!(ids(&session, "lighthouse"), ["m2", "m1"]);
    let page = find(&session, "harbour");
    assert_eq!(page.hits[0].field, SearchField::Tool);
}

#[tokio::test]
async fn the_index_follows_changes_and_deletions() {
    let dir = folder();
    let log = [
        delta(1, 0, "the first "),
        delta(1, 1, "and then unicorns"),
        finish(1, 2),
        Bytes::from(
            json!({"type": "chunk", "key": "m1:1", "headers": {"operation": "delete"}}).to_string(),
        ),
        Bytes::from(r#"{"type":"reset","headers":{"control":"reset"}}"#),
    ];
    let mut session = with(&dir, &log[..3]).await;
    assert_eq!(ids(&session, "unicorns"), ["m1"]);
    take_in(&mut session, &log, 3, 4);
    commit(&mut session).await;
    assert_eq!(ids(&session, "unicorns").len(), 0);
    assert_eq!(ids(&session, "first"), ["m1"]);
    take_in(&mut session, &log, 4, 5);
    commit(&mut session).await;
    assert_eq!(ids(&session, "first").len(), 0);
}

#[tokio::test]
async fn what_an_older_version_stored_is_indexed_when_it_is_opened() {
    let dir = folder();
    let session = with(&dir, &[say(1, "from before 検索 there was search")]).await;
    crash(session);
    // As the first version left it.
    let file = dir.path().join("threadkeep.db");
    let old = rusqlite::Connection::open(&file).expect("it is a database");
    old.execute_batch(
        "DROP TABLE search; DROP TABLE search_parts; DROP TABLE servers; DROP INDEX rows_standing; DROP INDEX rows_of_requests;
         ALTER TABLE rows DROP COLUMN standing; ALTER TABLE sessions DROP COLUMN parent;
         UPDATE sessions SET id = substr(id, instr(id, '/') + 1);
         DELETE FROM refinery_schema_history WHERE version >= 2;
         PRAGMA user_version = 1;",
    )
    .expect("it can be taken back");
    drop(old);
    let session = open(dir.path()).await;
    assert_eq!(ids(&session, "検索"), ["m1"]);
    assert_eq!(ids(&session, "before"), ["m1"]);
}

#[tokio::test]
async fn what_was_indexed_by_words_alone_is_indexed_anew() {
    let dir = folder();
    let session = with(&dir, &[say(1, "getUserName")]).await;
    crash(session);
    let file = dir.path().join("threadkeep.db");
    let old = rusqlite::Connection::open(&file).expect("it is a database");
    old.execute_batch(
        "DROP TABLE search_parts; DELETE FROM refinery_schema_history WHERE version >= 7;
         PRAGMA user_version = 6;",
    )
    .expect("it can be taken back");
    drop(old);
    let session = open(dir.path()).await;
    let page = find(&session, "name");
    assert_eq!(page.hits.first().map(|hit| hit.message_id.as_str()), Some("m1"));
}

#[tokio::test]
async fn pages_of_hits_do_not_overlap_and_a_session_can_be_searched_alone() {
    let dir = folder();
    let log: Vec<Bytes> = (0..90).map(|n| say(n, &format!("word number {n}"))).collect();
    let session = with(&dir, &log).await;
    let page = |offset, session_id: Option<&str>| {
        let request = SearchRequest {
            query: "word".to_owned(),
            session_id: session_id.map(str::to_owned),
            offset,
            limit: 40,
        };
        search::run(&session.shared.store, &request).expect("it is searched")
    };
    let mut all: Vec<String> = [0, 40, 80]
        .into_iter()
        .flat_map(|offset| page(offset, None).hits)
        .map(|hit| hit.message_id)
        .collect();
    assert_eq!(all.first().map(String::as_str), Some("m89"), "the newest first among equals");
    all.sort();
    all.dedup();
    assert_eq!((all.len(), page(0, None).total), (90, 90));
    assert_eq!(page(0, Some(super::ID)).total, 90);
    assert_eq!(page(0, Some("another")).total, 0);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn no_query_is_an_error_and_ranges_lie_in_the_snippet(
        typed in prop_oneof![
            "\\PC{0,40}",
            "[\"'()*^:{}+ANDORNEAR \\\\%_-]{0,30}",
            "[\\x00-\\x7f]{0,30}",
            "[日本天気a-cé\u{301}🙂 ]{1,6}",
        ],
    ) {
        thread_local! {
            static SESSION: (tempfile::TempDir, Session) = {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .expect("a runtime starts");
                let dir = folder();
                let log = [say(1, "abc \"NEAR\" AND (x) 日本の天気 🙂 e\u{301}té %_"), say(2, "b a c")];
                let session = runtime.block_on(with(&dir, &log));
                (dir, session)
            };
        }
        SESSION.with(|(_, session)| {
            for hit in find(session, &typed).hits {
                let units: Vec<u16> = hit.snippet.encode_utf16().collect();
                let mut last = 0;
                for range in hit.ranges {
                    prop_assert!(range.start >= last && range.start < range.end);
                    prop_assert!(range.end as usize <= units.len());
                    let marked = &units[range.start as usize..range.end as usize];
                    prop_assert!(String::from_utf16(marked).is_ok(), "no half characters");
                    last = range.end;
                }
            }
            Ok(())
        })?;
    }
}
