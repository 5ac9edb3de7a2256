//! What broken and hostile files cost: themselves, and bounded room.

use std::fs;
use std::io::Write as _;
use std::sync::LazyLock;

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::cases::{cases, input};
use crate::import::{report, report_of};

/// Cases whose input is text: their names, the names of their files, and what is in them.
static TEXTS: LazyLock<Vec<(String, String, Vec<u8>)>> = LazyLock::new(texts);

fn texts() -> Vec<(String, String, Vec<u8>)> {
    let mut found = Vec::new();
    for case in cases() {
        let path = input(&case);
        if path.is_file()
            && !matches!(path.extension().and_then(|end| end.to_str()), Some("db" | "zip"))
        {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            found.push((
                case.file_name().unwrap().to_string_lossy().into_owned(),
                name,
                fs::read(&path).unwrap(),
            ));
        }
    }
    found
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_file_that_was_cut_off_anywhere_is_read_as_far_as_it_goes(which in 0_usize..64, at in 0.0..1.0_f64) {
        let texts = &*TEXTS;
        let (_, name, bytes) = &texts[which % texts.len()];
        let end = (bytes.len() as f64 * at) as usize;
        let whole = report_of(name, bytes);
        let cut = report_of(name, &bytes[..end]);
        prop_assert!(cut["sessions"].as_array().unwrap().len() <= whole["sessions"].as_array().unwrap().len() + 1);
    }

    #[test]
    fn any_byte_may_be_another(which in 0_usize..64, at in 0.0..1.0_f64, byte: u8) {
        let texts = &*TEXTS;
        let (_, name, bytes) = &texts[which % texts.len()];
        let mut bytes = bytes.clone();
        let at = ((bytes.len() - 1) as f64 * at) as usize;
        bytes[at] = byte;
        report_of(name, &bytes);
    }

    #[test]
    fn one_broken_element_costs_only_itself(count in 2_usize..8, broken in 0_usize..8, how in 0_usize..6) {
        let broken = broken % count;
        let chats: Vec<String> = (0..count).map(|n| json!({
            "conversation_id": format!("c{n}"), "title": format!("T{n}"), "create_time": 1772359200.0,
            "mapping": {"a": {"id": "a", "parent": null, "message": {"id": "a", "author": {"role": "user"},
                "content": {"content_type": "text", "parts": [format!("Q{n}")]}}}},
        }).to_string()).collect();
        let spoilt = |text: &str| match how {
            0 => text[..text.len() / 2].to_owned(),
            1 => text.replace("\"parts\"", "\"parts"),
            2 => text.replace("]", ""),
            3 => "null".to_owned(),
            4 => text.replace("\"mapping\":{", "\"mapping\":"),
            _ => format!("{text}}}]"),
        };
        let text: Vec<String> = chats.iter().enumerate().map(|(at, chat)| if at == broken { spoilt(chat) } else { chat.clone() }).collect();
        let report = report_of("x.json", format!("[{}]", text.join(",\n")).as_bytes());
        let ids: Vec<&str> = report["sessions"].as_array().unwrap().iter().filter_map(|one| one["sourceId"].as_str()).collect();
        for at in (0..count).filter(|at| *at != broken) {
            let id = format!("c{at}");
            prop_assert!(ids.contains(&id.as_str()), "{id} is missing in {ids:?}, broken {broken} by {how}");
        }
    }

    #[test]
    fn one_broken_line_costs_only_itself(line in 1_usize..12, byte in 0_usize..200) {
        // The words of every other line are still there.
        for (case, name, bytes) in TEXTS.iter().filter(|(case, ..)| case.contains("gemini-cli") || case.contains("openai")) {
            let lines: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
            let at = line % lines.len();
            let mut spoilt: Vec<Vec<u8>> = lines.iter().map(|line| line.to_vec()).collect();
            let end = byte % spoilt[at].len().max(1);
            spoilt[at].truncate(end);
            let report = report_of(name, &spoilt.join(&b'\n'));
            prop_assert!(!report["sessions"].as_array().unwrap().is_empty(), "{case}");
        }
    }
}

#[test]
fn the_order_and_the_number_of_copies_of_files_change_nothing() {
    for case in cases() {
        let path = input(&case);
        if !path.is_file() || path.extension().is_some_and(|end| end == "zip") {
            continue;
        }
        let once = report(&path);
        let again = report(&path);
        assert_eq!(once, again, "{}", case.display());
    }
    let chat = |id: &str| json!({"uuid": id, "name": id, "chat_messages": [{"uuid": "m", "sender": "human", "text": id, "content": []}]});
    let folder = |names: [&str; 2]| {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(names[0]), json!([chat("a"), chat("b")]).to_string()).unwrap();
        fs::write(
            folder.path().join(names[1]),
            json!([chat("b"), chat("c"), chat("a")]).to_string(),
        )
        .unwrap();
        let report = report(folder.path());
        let mut keys: Vec<String> = report["sessions"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["key"].to_string())
            .collect();
        keys.sort();
        keys
    };
    let (one, other) = (folder(["1.json", "2.json"]), folder(["2.json", "1.json"]));
    assert_eq!((one.len(), &one), (3, &other));
}

pub(crate) fn zip_of(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, bytes) in entries {
        let options = zip::write::SimpleFileOptions::default();
        zip.start_file(*name, options).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

pub(crate) fn claude(text: &str) -> Vec<u8> {
    let message = json!({"uuid": "m", "sender": "human", "text": text, "content": []});
    json!([{"uuid": text, "name": "", "chat_messages": [message]}]).to_string().into_bytes()
}

#[test]
fn a_zip_that_climbs_out_or_unpacks_without_end_is_bounded() {
    let outside = zip_of(&[
        ("../../outside.json", &claude("climbs")),
        ("/abs.json", &claude("absolute")),
        ("C:/x.json", &claude("drive")),
        ("__MACOSX/x.json", &claude("mac")),
        ("ok/conversations.json", &claude("good")),
    ]);
    let report = report_of("x.zip", &outside);
    assert_eq!(report["sessions"].as_array().unwrap().len(), 1, "{report}");
    assert_eq!(report["sessions"][0]["sourceId"], "good");
    let mut bomb = claude("bomb");
    bomb.pop();
    bomb.extend(std::iter::repeat_n(b' ', 80 << 20));
    bomb.push(b']');
    let report =
        report_of("x.zip", &zip_of(&[("conversations.json", &bomb), ("b.json", &claude("good"))]));
    assert!(report["problems"].as_u64() > Some(0), "{}", report["problems"]);
}

#[test]
fn json_without_a_bottom_costs_itself() {
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let text = format!(
        "[{},{{\"role\":\"user\",\"content\":\"Q\",\"deep\":{deep}}},{{\"role\":\"assistant\",\"content\":\"A\"}}]",
        json!({"role": "user", "content": "First"})
    );
    let report = report_of("x", text.as_bytes());
    assert_eq!(report["problems"], 1);
    assert_eq!(report["sessions"][0]["messages"].as_array().unwrap().len(), 2);
}

#[cfg(unix)]
#[test]
fn links_in_a_folder_are_not_followed() {
    let folder = tempfile::tempdir().unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    fs::write(elsewhere.path().join("secret.json"), claude("secret")).unwrap();
    fs::write(folder.path().join("a.json"), claude("good")).unwrap();
    std::os::unix::fs::symlink(elsewhere.path().join("secret.json"), folder.path().join("b.json"))
        .unwrap();
    std::os::unix::fs::symlink(elsewhere.path(), folder.path().join("c")).unwrap();
    std::os::unix::fs::symlink(folder.path(), folder.path().join("d")).unwrap();
    let report = report(folder.path());
    assert_eq!(report["sessions"].as_array().unwrap().len(), 1);
    assert!(!report.to_string().contains("secret"));
}

#[test]
fn databases_with_broken_pages_are_problems() {
    for case in cases().iter().filter(|case| input(case).extension().is_some_and(|end| end == "db"))
    {
        let bytes = fs::read(input(case)).unwrap();
        for at in [100, 1_000, 4_096, 5_000, bytes.len() / 2, bytes.len() - 10] {
            let mut bytes = bytes.clone();
            let end = (at + 64).min(bytes.len());
            bytes[at..end].fill(0xff);
            report_of("x.db", &bytes);
            report_of("x.db", &bytes[..end]);
        }
    }
}

#[test]
fn a_key_never_changes() {
    // Sessions on servers are named by these.
    let report = report_of("x.json", &claude("fixed"));
    assert_eq!(report["sessions"][0]["key"].as_str().map(str::len), Some(32));
    assert_eq!(report["sessions"][0]["key"], KEY, "{}", Value::from(KEY));
}

const KEY: &str = "504828f7a62a61bc4536c02c43c8be24";

/// Run by `cargo test -p session-import --test it -- --ignored`: a gigabyte in the memory of one conversation.
#[cfg(target_os = "linux")]
#[test]
#[ignore = "writes a gigabyte: cargo test -p session-import --test it -- --ignored"]
fn a_gigabyte_is_read_in_the_memory_of_a_conversation() {
    struct Count(usize);
    impl session_import::Sink for Count {
        fn session(&mut self, _: session_import::Session) -> Result<(), session_import::Stop> {
            self.0 += 1;
            Ok(())
        }
        fn problem(&mut self, problem: session_import::Problem) {
            panic!("{problem:?}");
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("conversations.json");
    let mut out = std::io::BufWriter::new(fs::File::create(&path).unwrap());
    let words = "words and more words ".repeat(2_000);
    let (mut size, mut count) = (1, 0);
    out.write_all(b"[").unwrap();
    while size < 1 << 30 {
        let messages: Vec<Value> = (0..10).map(|at| json!({"uuid": at.to_string(), "sender": "human", "text": words, "content": []})).collect();
        let chat =
            json!({"uuid": count.to_string(), "name": "", "chat_messages": messages}).to_string();
        if count > 0 {
            out.write_all(b",").unwrap();
        }
        out.write_all(chat.as_bytes()).unwrap();
        size += chat.len();
        count += 1;
    }
    out.write_all(b"]").unwrap();
    out.flush().unwrap();
    let mut sink = Count(0);
    session_import::Import::open(&path).unwrap().read(&mut sink).unwrap();
    assert_eq!(sink.0, count);
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(peak < 200 << 10, "{peak} kB");
    eprintln!("{count} conversations, peak {peak} kB");
}
