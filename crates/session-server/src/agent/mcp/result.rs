//! The result of a call, as the log shows it and as the model is told it.
//!
//! Pictures are shown as pictures and named to the model. What is long is cut in the middle, and kept whole in a file
//! of the data folder, which only the owner of the host reaches.

use std::path::PathBuf;

use base64::{Engine, engine::general_purpose::STANDARD};
use mcp::{Block, CallResult};
use serde_json::json;

/// Bytes of words that the log and the model get: beginning and end.
const WORDS: (usize, usize) = (32 << 10, 16 << 10);
/// Bytes of pictures in base64 that are shown of one result: each, and all.
const PICTURES: (usize, usize) = (1 << 20, 2 << 20);
/// Bytes of one result that are kept in files.
const KEPT: usize = 24 << 20;

/// The result of a call.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Told {
    /// As the log has it: words, or blocks as JSON.
    pub(crate) shown: String,
    /// As the model has it.
    pub(crate) words: String,
    pub(crate) failed: bool,
}

impl Told {
    /// A call that gave nothing.
    pub(crate) fn failed(why: &str) -> Self {
        Self { shown: why.to_owned(), words: why.to_owned(), failed: true }
    }

    /// Reads a result. Files go into `folder` and are called after the call.
    pub(super) async fn of(result: CallResult, folder: PathBuf, call_id: &str) -> Self {
        let call_id = call_id.to_owned();
        let read = tokio::task::spawn_blocking(move || read(result, &folder, &call_id));
        read.await.unwrap_or_else(|_| Self::failed("the result could not be read"))
    }
}

fn read(result: CallResult, folder: &std::path::Path, call_id: &str) -> Told {
    let (mut blocks, mut words): (Vec<serde_json::Value>, Vec<String>) = (Vec::new(), Vec::new());
    let (mut pictures, mut kept, mut files) = (0, 0, 0);
    let mut keep = |bytes: &[u8], ending: &str| -> bool {
        kept += bytes.len();
        files += 1;
        let name = format!("{call_id}-{files}.{ending}");
        let path = folder.join(name);
        kept <= KEPT
            && std::fs::create_dir_all(folder).is_ok()
            && std::fs::write(path, bytes).is_ok()
    };
    let mut whole: Vec<String> = Vec::new();
    for block in result.blocks {
        match block {
            Block::Text(text) => whole.push(text),
            Block::Media { mime, data } => {
                let is_shown = matches!(
                    mime.as_str(),
                    "image/png" | "image/jpeg" | "image/gif" | "image/webp"
                ) && data.len() <= PICTURES.0
                    && pictures + data.len() <= PICTURES.1
                    && STANDARD.decode(&data).is_ok();
                let size = data.len() / 4 * 3;
                if is_shown {
                    pictures += data.len();
                    words.push(format!("[{mime}, {size} bytes, shown to the people here]"));
                    blocks.push(json!({"type": "image", "mimeType": mime, "data": data}));
                    continue;
                }
                let ending = mime.rsplit('/').next().unwrap_or_default();
                let plain = (1..=8).contains(&ending.len())
                    && ending.bytes().all(|b| b.is_ascii_alphanumeric());
                let bytes = STANDARD.decode(&data).unwrap_or_default();
                let is_kept = !bytes.is_empty() && keep(&bytes, if plain { ending } else { "bin" });
                let place = if is_kept { "kept in a file of the host" } else { "left out" };
                whole.push(format!("[{}, {size} bytes, {place}]", plain_mime(&mime)));
            }
            Block::Link { uri, name } => whole.push(format!("[{name} {uri}]")),
            Block::Other(kind) => {
                whole.push(format!("[a block of the kind {kind:?}, which is not known here]"))
            }
        }
    }
    if result.left_out > 0 {
        whole.push(format!("[{} blocks were left out]", result.left_out));
    }
    let text = whole.join("\n");
    let text = match cut(&text) {
        None => text,
        Some(cut) => {
            let place = if keep(text.as_bytes(), "txt") {
                "the whole is in a file of the host"
            } else {
                "it was left out"
            };
            let left = text.len() - cut.0.len() - cut.1.len();
            format!("{}\n[… {left} bytes: {place} …]\n{}", cut.0, cut.1)
        }
    };
    let shown = if blocks.is_empty() {
        text.clone()
    } else {
        if !text.is_empty() {
            blocks.insert(0, json!({"type": "text", "text": text}));
        }
        json!({"content": blocks}).to_string()
    };
    words.insert(0, text);
    words.retain(|words| !words.is_empty());
    let mut words = words.join("\n");
    if words.is_empty() {
        "(The tool said nothing.)".clone_into(&mut words);
    }
    let shown = if shown.is_empty() { words.clone() } else { shown };
    Told { shown, words, failed: result.is_error }
}

fn plain_mime(mime: &str) -> &str {
    let end = mime.floor_char_boundary(64);
    if mime.is_empty() { "data" } else { &mime[..end] }
}

/// Beginning and end of a text that is too long.
fn cut(text: &str) -> Option<(&str, &str)> {
    if text.len() <= WORDS.0 + WORDS.1 {
        return None;
    }
    let begin = &text[..text.floor_char_boundary(WORDS.0)];
    Some((begin, &text[text.ceil_char_boundary(text.len() - WORDS.1)..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(blocks: Vec<Block>) -> (Told, tempfile::TempDir) {
        let dir = tempfile::tempdir().unwrap();
        let result = CallResult { blocks, is_error: false, left_out: 0 };
        (read(result, dir.path(), "c"), dir)
    }

    #[test]
    fn words_are_words_and_pictures_are_pictures() {
        let (plain, _dir) = told(vec![Block::Text("a".into()), Block::Text("b".into())]);
        assert_eq!((plain.shown.as_str(), plain.words.as_str()), ("a\nb", "a\nb"));
        let picture = Block::Media { mime: "image/png".into(), data: "AAAA".into() };
        let (both, _dir) = told(vec![picture, Block::Text("a".into())]);
        let shown: serde_json::Value = serde_json::from_str(&both.shown).unwrap();
        assert_eq!(shown["content"][1]["data"], "AAAA");
        assert!(both.words.contains("image/png") && !both.words.contains("AAAA"), "{}", both.words);
        let (nothing, _dir) = told(Vec::new());
        assert!(!nothing.shown.is_empty());
    }

    #[test]
    fn what_is_long_is_cut_and_kept_in_a_file() {
        let long = "é".repeat(200_000);
        let (cut, dir) = told(vec![Block::Text(long.clone())]);
        assert!(cut.shown.len() < 60_000 && cut.words.len() < 60_000);
        assert_eq!(std::fs::read_to_string(dir.path().join("c-1.txt")).unwrap(), long);
        let big = Block::Media { mime: "image/png".into(), data: "A".repeat(3 << 20) };
        let (cut, dir) = told(vec![big]);
        assert!(cut.shown.len() < 1000, "{}", cut.shown.len());
        assert!(dir.path().join("c-1.png").exists());
        // A type is no path.
        let odd = Block::Media { mime: "x/../../y".into(), data: "AAAA".into() };
        let (_, dir) = told(vec![odd]);
        assert!(dir.path().join("c-1.y").exists());
    }
}
