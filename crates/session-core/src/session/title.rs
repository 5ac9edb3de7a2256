//! Titles and previews: few words of what somebody said.

/// Number of characters of a title that is made from a message.
const TITLE_CHARS: usize = 60;

/// A title from what somebody said: the first line that says something, shortened.
pub(crate) fn title_from(text: &str) -> Option<String> {
    let line = text
        .lines()
        .map(|line| line.trim().trim_start_matches(['#', '>', '*', '-', ' ']))
        .find(|line| !line.is_empty())?;
    Some(shorten(line, TITLE_CHARS))
}

/// The first `limit` characters, cut at a word where one is near.
pub(super) fn shorten(line: &str, limit: usize) -> String {
    let mut chars = line.char_indices();
    let Some((cut, _)) = chars.nth(limit) else { return line.to_owned() };
    let head = &line[..cut];
    let head = match head.rfind(' ') {
        Some(space) if space > cut / 2 => &head[..space],
        _ => head,
    };
    format!("{}…", head.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_title_is_the_first_line_that_says_something() {
        assert_eq!(title_from("\n\n## Hello there\nmore").as_deref(), Some("Hello there"));
        assert_eq!(title_from("   \n"), None);
        let long = "word ".repeat(40);
        let title = title_from(&long).expect("it says something");
        assert!(title.chars().count() <= TITLE_CHARS + 1 && title.ends_with("word…"), "{title}");
        assert_eq!(title_from(&"é".repeat(100)).map(|t| t.chars().count()), Some(TITLE_CHARS + 1));
    }
}
