//! Files as they lie on disks: in other encodings, torn, packed in each other, mixed, and still being written.

use std::fs;

use serde_json::{Value, json};

use crate::hostile::{claude, zip_of};
use crate::import::{report, report_of};
use crate::variants::{jsonl, told};

fn ids(report: &Value) -> Vec<String> {
    let sessions = report["sessions"].as_array().unwrap();
    sessions.iter().map(|one| one["sourceId"].as_str().unwrap_or("none").to_owned()).collect()
}

fn utf16(text: &str, big: bool) -> Vec<u8> {
    let units = "\u{feff}".encode_utf16().chain(text.encode_utf16());
    units.flat_map(|unit| if big { unit.to_be_bytes() } else { unit.to_le_bytes() }).collect()
}

#[test]
fn every_encoding_of_a_text_is_read_alike() {
    let list = String::from_utf8(claude("Grüße 安 🦀")).unwrap();
    let lines = jsonl(&[
        json!({"messages": [{"role": "user", "content": "Grüße 安 🦀"}]}),
        json!({"messages": [{"role": "user", "content": "2"}]}),
    ]);
    for text in [list, lines] {
        let want = report_of("x", text.as_bytes());
        assert_eq!(want["problems"], 0);
        let bom = [b"\xef\xbb\xbf", text.as_bytes()].concat();
        let crlf = text.replace('\n', "\r\n").into_bytes();
        let cases = [bom, crlf, utf16(&text, false), utf16(&text, true)];
        for (at, bytes) in cases.into_iter().enumerate() {
            assert_eq!(report_of("x", &bytes), want, "{at}");
            assert_eq!(report_of("x.zip", &zip_of(&[("a/b.txt", &bytes)])), want, "{at} in a zip");
            let packed = zstd::encode_all(&bytes[..], 1).unwrap();
            assert_eq!(report_of("x", &packed), want, "{at} packed");
        }
    }
}

#[test]
fn files_that_were_joined_are_read_as_several() {
    let (one, two) = (claude("one"), claude("two"));
    let joined = [&b"\xef\xbb\xbf"[..], &one, b"\r\n\xef\xbb\xbf", &two].concat();
    assert_eq!(ids(&report_of("x", &joined)), ["one", "two"]);
    let line = |words: &str| {
        jsonl(&[json!({"id": words, "messages": [{"role": "user", "content": words}]})])
    };
    let joined = format!("{}\u{feff}{}", line("one"), line("two"));
    let report = report_of("x", joined.as_bytes());
    assert_eq!((ids(&report).len(), &report["problems"]), (2, &json!(0)));
}

#[test]
fn a_log_that_was_torn_or_ends_in_zeros_costs_its_last_line() {
    let row = |id: &str, parent: Option<&str>, text: &str| json!({"type": "user", "uuid": id, "parentUuid": parent, "sessionId": "s", "timestamp": "2026-01-01T00:00:00Z", "message": {"role": "user", "content": text}});
    let whole = jsonl(&[row("1", None, "One"), row("2", Some("1"), "Two")]);
    let third = row("3", Some("2"), "Three").to_string();
    for tail in [third.as_bytes()[..third.len() / 2].to_vec(), vec![0; 4096], b"\n\n".to_vec()] {
        let report = report_of("x", &[whole.as_bytes(), &tail].concat());
        assert_eq!(told(&report["sessions"][0]), ["user: One", "user: Two"]);
        assert!(report["problems"].as_u64() <= Some(1), "{report}");
    }
    let list = [&claude("one")[..], &[0; 512]].concat();
    assert_eq!(ids(&report_of("x", &list)), ["one"]);
}

#[test]
fn a_line_without_an_end_costs_itself() {
    let row = |text: &str| jsonl(&[json!({"messages": [{"role": "user", "content": text}]})]);
    let huge = "x".repeat(65 << 20);
    let report =
        report_of("x", format!("{}{}{}", row("before"), row(&huge), row("after")).as_bytes());
    assert_eq!((report["sessions"].as_array().unwrap().len(), &report["problems"]), (2, &json!(1)));
}

fn chat(id: &str, text: &str, updated: &str) -> Value {
    json!({"uuid": id, "name": id, "updated_at": updated, "chat_messages": [
        {"uuid": "m", "sender": "human", "text": text, "content": []}]})
}

#[test]
fn exports_in_several_zips_are_one() {
    let folder = tempfile::tempdir().unwrap();
    let put = |name: &str, files: &[(&str, &[u8])]| {
        fs::write(folder.path().join(name), zip_of(files)).unwrap();
    };
    let old =
        json!([chat("a", "old", "2026-01-01T00:00:00Z"), chat("b", "b", "2026-01-01T00:00:00Z")]);
    let new =
        json!([chat("a", "new", "2026-02-01T00:00:00Z"), chat("c", "c", "2026-02-01T00:00:00Z")]);
    put("export-2.zip", &[("conversations.json", old.to_string().as_bytes())]);
    put("export-10.zip", &[("conversations.json", new.to_string().as_bytes())]);
    fs::write(folder.path().join("broken.zip"), b"PK\x03\x04 and nothing else").unwrap();
    let report = report(folder.path());
    assert_eq!(ids(&report), ["b", "a", "c"]);
    assert_eq!(told(&report["sessions"][1]), ["user: new"]);
    assert_eq!(report["problems"], 1);

    // What a conversation of one zip shows may lie in another one.
    let shown = json!([{"conversation_id": "g", "title": "T", "current_node": "n", "mapping": {"n": {"id": "n", "parent": null, "message": {
        "id": "n", "author": {"role": "user"}, "content": {"content_type": "multimodal_text", "parts": [
            {"content_type": "image_asset_pointer", "asset_pointer": "sediment://file_0abc#p_1"}]}}}}}]);
    let folder = tempfile::tempdir().unwrap();
    fs::write(
        folder.path().join("1.zip"),
        zip_of(&[("conversations-000.json", shown.to_string().as_bytes())]),
    )
    .unwrap();
    fs::write(folder.path().join("2.zip"), zip_of(&[("file_0abc.dat", b"\x89PNG\r\n")])).unwrap();
    let report = crate::import::report(folder.path());
    let part = &report["sessions"][0]["messages"][0]["parts"][0];
    assert_eq!((&part["found"], &part["mediaType"]), (&json!(true), &json!("image/png")));
}

#[test]
fn zips_in_zips_are_opened_twice_at_most_and_documents_are_files() {
    let inner = zip_of(&[("conversations.json", &claude("inner"))]);
    let middle = zip_of(&[("inner.bin", &inner)]);
    assert_eq!(ids(&report_of("x", &zip_of(&[("a.zip", &inner)]))), ["inner"]);
    assert_eq!(ids(&report_of("x", &zip_of(&[("a", &middle)]))), ["inner"]);
    let outer = zip_of(&[("a", &zip_of(&[("b", &middle)]))]);
    assert_eq!(report_of("x", &outer)["format"], "unknown");
    // Twenty copies of a bomb, each a thousand times as large unpacked.
    let bomb = zip_of(&[("x.json", &[b' '; 1 << 20].repeat(4))]);
    let names: Vec<String> = (0..20).map(|at| format!("{at}.zip")).collect();
    let entries: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), &bomb[..])).collect();
    assert_eq!(report_of("x", &zip_of(&entries))["format"], "unknown");
    let document =
        zip_of(&[("[Content_Types].xml", b"<x/>"), ("word/conversations.json", &claude("no"))]);
    let report = report_of("x", &zip_of(&[("a.docx", &document), ("c.json", &claude("yes"))]));
    assert_eq!((ids(&report), &report["problems"]), (vec!["yes".to_owned()], &json!(0)));
}

#[test]
fn a_zip_with_a_password_is_a_problem_and_not_nothing() {
    let mut zip = zip_of(&[("conversations.json", &claude("locked"))]);
    // The flag that says so, in the file's own header and in the list.
    for (magic, flag) in [(b"PK\x03\x04", 6), (b"PK\x01\x02", 8)] {
        let at = zip.windows(4).position(|at| at == magic).unwrap();
        zip[at + flag] |= 1;
    }
    assert_eq!(
        report_of("x.zip", &zip),
        json!({"format": "unknown", "sessions": [], "problems": 1})
    );
}

#[test]
fn a_zip_of_very_many_files_is_not_read_anew_for_each() {
    let names: Vec<String> = (0..4_000).map(|at| format!("user-1/file-{at:05}.dat")).collect();
    let chats = json!([chat("a", "words", "2026-01-01T00:00:00Z")]).to_string();
    let mut entries: Vec<(&str, &[u8])> =
        names.iter().map(|name| (name.as_str(), &b"GIF8"[..])).collect();
    entries.push(("conversations.json", chats.as_bytes()));
    let zip = zip_of(&entries);
    let begun = std::time::Instant::now();
    assert_eq!(ids(&report_of("x", &zip)), ["a"]);
    // Reading the list of files for each of them took more than a minute.
    assert!(begun.elapsed() < std::time::Duration::from_secs(20), "{:?}", begun.elapsed());
}

#[test]
fn a_folder_of_all_sorts_is_read_for_what_is_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let put = |path: &str, bytes: &[u8]| {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    };
    put("a/conversations.json", &claude("from claude"));
    put(
        "b/photo.json",
        &jsonl(&[
            json!({"messages": [{"role": "user", "content": "Q"}]}),
            json!({"messages": [{"role": "user", "content": "R"}]}),
        ])
        .into_bytes(),
    );
    put("b/notes.md", b"# aider chat started at 2026-01-01 10:00:00\n\n#### Do it\n\nDone.\n");
    put("c/package.json", br#"{"name":"x","version":"1","scripts":{}}"#);
    put("c/.DS_Store", b"\0\0\0\x01Bud1");
    put("c/empty", b"");
    put("c/settings.json", br#"{"apiKey":"sk-not-read"}"#);
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(folder.path(), folder.path().join("loop")).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", folder.path().join("c/conversations.json"))
            .unwrap();
    }
    let report = report(folder.path());
    assert_eq!(report["sessions"].as_array().unwrap().len(), 4, "{report}");
    assert_eq!(report["problems"], 0);
    assert!(!report.to_string().contains("sk-not-read"));
}

#[test]
fn times_are_read_in_whatever_unit_a_field_has_them() {
    let at = |time: Value| {
        let chat = json!([{"id": "c", "title": "T", "create_time": time, "mapping": {"n": {"id": "n", "parent": null, "message": {
            "id": "n", "author": {"role": "user"}, "create_time": time, "content": {"content_type": "text", "parts": ["Q"]}}}}}]);
        report_of("x", chat.to_string().as_bytes())["sessions"][0]["createdAt"].clone()
    };
    for time in [
        json!(1_772_359_200),
        json!(1_772_359_200.25),
        json!(1_772_359_200_000_u64),
        json!(1_772_359_200_000_000_u64),
        json!("1772359200"),
        json!("2026-03-01T10:00:00+00:00"),
        json!("2026-03-01T11:00:00+0100"),
        json!("2026-03-01 10:00:00 UTC"),
        json!({"$date": {"$numberLong": "1772359200000"}}),
    ] {
        assert_eq!(at(time.clone()), "2026-03-01T10:00:00Z", "{time}");
    }
    for none in [json!(null), json!(0), json!("yesterday"), json!([1]), json!(1e40)] {
        assert_eq!(at(none.clone()), Value::Null, "{none}");
    }
}
