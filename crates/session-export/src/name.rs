//! Names of files that every system takes, and that are the same each time.

use crate::About;

/// Bytes of a name.
const MAX: usize = 120;
/// Names that Windows keeps for devices.
const DEVICES: [&str; 6] = ["con", "prn", "aux", "nul", "com", "lpt"];

/// A name for a session's file: `2026-03-01 A title-1a2b3c.md`. `day` is when the session began, `end` is without a dot.
/// Sessions of one day with one title have different names; a session has the same each time.
pub fn file_name(about: &About, day: Option<&str>, end: &str) -> String {
    let id = &blake3::hash(about.id.as_bytes()).to_hex()[..6];
    let day = day
        .and_then(|day| day.get(..10))
        .filter(|day| day.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-'));
    let before = day.map_or_else(String::new, |day| format!("{day} "));
    let behind = format!("-{id}.{end}");
    let mut title = String::new();
    for c in about.title.chars() {
        let plain = match c {
            '/' | '\\' | ':' | '*' | '?' | '"' | '<' | '>' | '|' => '-',
            c if c.is_control() || c.is_whitespace() => ' ',
            // Marks that turn or hide text.
            '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}' => continue,
            c => c,
        };
        if plain == ' ' && (title.is_empty() || title.ends_with(' ')) {
            continue;
        }
        if before.len() + title.len() + plain.len_utf8() + behind.len() > MAX {
            break;
        }
        title.push(plain);
    }
    let title = title.trim_matches([' ', '.']);
    let stem = title.split('.').next().unwrap_or_default().trim_end().to_ascii_lowercase();
    let is_device = DEVICES.contains(&stem.trim_end_matches(|c: char| c.is_ascii_digit()));
    let title = match (title, is_device && before.is_empty()) {
        ("", _) => "session",
        (title, false) => title,
        (_, true) => "session",
    };
    format!("{before}{title}{behind}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(title: &str, id: &str, day: Option<&str>) -> String {
        file_name(&About { id: id.to_owned(), title: title.to_owned() }, day, "md")
    }

    #[test]
    fn every_title_is_a_name_that_every_system_takes() {
        let day = Some("2026-03-01T10:00:00Z");
        for title in [
            "",
            "...",
            "con",
            "NUL.txt",
            "COM1",
            "a/b\\c:d*e?f",
            "../../etc/passwd",
            "\u{202e}gpj.exe",
            "x\ny\0z",
            &*"安".repeat(200),
            &*"a".repeat(500),
            " . ",
            "🦀 crab",
        ] {
            for day in [day, None, Some("no day at all"), Some("../../../x")] {
                let name = name(title, "s", day);
                assert!(
                    name.len() <= MAX && name.ends_with(".md") && !name.starts_with(['.', ' ']),
                    "{name}"
                );
                let bad = |c: char| c.is_control() || "/\\:*?\"<>|".contains(c) || c == '\u{202e}';
                assert!(!name.contains(bad), "{name}");
                let stem =
                    name.split(['.', '-', ' ']).next().unwrap_or_default().to_ascii_lowercase();
                assert!(!["con", "nul", "com1"].contains(&stem.as_str()), "{name}");
            }
        }
    }

    #[test]
    fn names_are_stable_and_different() {
        let day = Some("2026-03-01T10:00:00Z");
        assert_eq!(name("A title", "s", day), name("A title", "s", day));
        assert_ne!(name("A title", "s", day), name("A title", "t", day));
        assert!(name("A title", "s", day).starts_with("2026-03-01 A title-"));
    }
}
