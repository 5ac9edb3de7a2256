//! Files inside exports: data URLs, base64, what bytes are.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::model::File;
use crate::text;

/// Bytes of one file that are kept.
pub(crate) const MAX_FILE: usize = 32 << 20;

/// The bytes of base64 text; `None` when it is none, or too long.
pub(crate) fn base64(text: &str) -> Option<Vec<u8>> {
    if text.len() > MAX_FILE / 3 * 4 + 4 {
        return None;
    }
    let tidy: String;
    let text = if text.contains(|c: char| c.is_ascii_whitespace()) {
        tidy = text.split_ascii_whitespace().collect();
        &tidy
    } else {
        text
    };
    STANDARD.decode(text).ok()
}

/// The media type and bytes of a data URL.
fn data_url(url: &str) -> Option<(Option<String>, Option<Vec<u8>>)> {
    let rest =
        url.get(..5).filter(|scheme| scheme.eq_ignore_ascii_case("data:")).map(|_| &url[5..])?;
    let (head, body) = rest.split_once(',')?;
    let kind = head.split(';').next().filter(|kind| kind.contains('/')).map(str::to_owned);
    if head.ends_with(";base64") {
        return Some((kind, base64(body)));
    }
    Some((kind, (body.len() <= MAX_FILE).then(|| percent_decoded(body))))
}

fn percent_decoded(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let (mut out, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while at < bytes.len() {
        let hex = bytes.get(at + 1..at + 3).and_then(|hex| std::str::from_utf8(hex).ok());
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()).filter(|_| bytes[at] == b'%') {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    out
}

/// A file by its address. Only a data URL holds the bytes: nothing is fetched, and no path is read.
pub(crate) fn by_url(url: &str, media_type: Option<&str>, filename: Option<&str>) -> File {
    let filename = filename.filter(|name| !name.is_empty()).map(|name| base_name(name).to_owned());
    let given = media_type.filter(|kind| kind.contains('/')).map(str::to_owned);
    if let Some((kind, bytes)) = data_url(url) {
        return File { filename, media_type: kind.or(given), bytes };
    }
    let filename = filename.or_else(|| {
        let path = url.split(['?', '#']).next().unwrap_or_default();
        let name = path.contains("://").then(|| base_name(path)).filter(|name| name.contains('.'));
        name.filter(|_| path.matches('/').count() > 2).map(str::to_owned)
    });
    missing(filename.as_deref(), given.as_deref())
}

/// A file that the import does not hold.
pub(crate) fn missing(filename: Option<&str>, media_type: Option<&str>) -> File {
    let filename = filename.map(text::clean).filter(|name| !text::is_blank(name));
    let by_name = || filename.as_deref().and_then(type_of_name).map(str::to_owned);
    let media_type =
        media_type.filter(|kind| kind.contains('/')).map(str::to_owned).or_else(by_name);
    File { filename, media_type, bytes: None }
}

/// A file whose text the import holds.
pub(crate) fn of_text(filename: Option<&str>, media_type: Option<&str>, words: &str) -> File {
    let mut file = missing(filename, media_type);
    let words = text::clean(words);
    if words.len() <= MAX_FILE {
        file.media_type = file.media_type.or(Some("text/plain".to_owned()));
        file.bytes = Some(words.into_bytes());
    }
    file
}

/// A file whose bytes the import holds.
pub(crate) fn of_bytes(filename: Option<&str>, media_type: Option<&str>, bytes: Vec<u8>) -> File {
    let mut file = missing(filename, media_type);
    let vague = |kind: &String| kind == "application/octet-stream" || kind.ends_with("/*");
    if file.media_type.as_ref().is_none_or(vague) {
        file.media_type = sniffed(&bytes).map(str::to_owned).or(file.media_type);
    }
    file.bytes = Some(bytes);
    file
}

/// The image, audio or other file of a block as APIs and protocols write them; `None` for a block that is none.
pub(crate) fn of_block(block: &Value) -> Option<File> {
    let field = |name: &str| block.get(name).and_then(Value::as_str);
    let name = field("filename").or_else(|| field("name")).or_else(|| field("file_name"));
    let kind = field("type").unwrap_or_default();
    let media = field("mimeType").or_else(|| field("mediaType")).or_else(|| field("media_type"));
    match kind {
        "image" | "document" | "audio" | "video" | "input_image" | "image_url" | "input_audio"
        | "input_file" | "file" | "media" => {}
        _ => return None,
    }
    let of_kind = match kind {
        "image" | "input_image" | "image_url" => Some("image/*"),
        "audio" | "input_audio" => Some("audio/*"),
        "video" => Some("video/*"),
        _ => None,
    };
    // Anthropic: `source`; MCP: `data` and `mimeType`; OpenAI: an address, or `file` and `input_audio` with data.
    if let Some(source) = block.get("source") {
        let field = |name: &str| source.get(name).and_then(Value::as_str);
        let media = field("media_type").or_else(|| field("mimeType")).or(media).or(of_kind);
        let name = name.or_else(|| block.get("title").and_then(Value::as_str));
        return Some(match (field("type"), field("data").or_else(|| field("value"))) {
            (Some("text"), Some(words)) => of_text(name, media, words),
            (_, Some(data)) => encoded(data, media, name),
            _ => by_url(field("url").unwrap_or_default(), media, name),
        });
    }
    if let Some(inner) =
        block.get("file").or_else(|| block.get("input_audio")).filter(|i| i.is_object())
    {
        let field = |name: &str| inner.get(name).and_then(Value::as_str);
        let name = field("filename").or(name);
        let format = field("format").map(|format| format!("audio/{format}"));
        return Some(match field("file_data").or_else(|| field("data")) {
            Some(data) => encoded(data, format.as_deref().or(media), name),
            None => missing(name, media),
        });
    }
    let url = match block.get("image_url") {
        Some(Value::String(url)) => Some(url.as_str()),
        Some(inner) => inner.get("url").and_then(Value::as_str),
        None => field("url").or_else(|| field("uri")),
    };
    Some(match (field("data").or_else(|| field("file_data")).or_else(|| field("image")), url) {
        (Some(data), _) => encoded(data, media.or(of_kind), name),
        (None, Some(url)) => by_url(url, media.or(of_kind), name),
        (None, None) => missing(name, media.or(of_kind)),
    })
}

/// A file of base64 text or of a data URL.
pub(crate) fn encoded(data: &str, media_type: Option<&str>, filename: Option<&str>) -> File {
    if data.contains(':') {
        return by_url(data, media_type, filename);
    }
    match base64(data) {
        Some(bytes) => of_bytes(filename, media_type, bytes),
        None => missing(filename, media_type),
    }
}

/// The last part of a path, of any system.
pub(crate) fn base_name(path: &str) -> &str {
    path.rsplit(['/', '\\']).next().unwrap_or(path)
}

/// What the first bytes say.
pub(crate) fn sniffed(bytes: &[u8]) -> Option<&'static str> {
    const MAGIC: &[(&[u8], &str)] = &[
        (b"\x89PNG", "image/png"),
        (b"\xff\xd8\xff", "image/jpeg"),
        (b"GIF8", "image/gif"),
        (b"%PDF", "application/pdf"),
        (b"PK\x03\x04", "application/zip"),
        (b"OggS", "audio/ogg"),
        (b"ID3", "audio/mpeg"),
        (b"\xff\xfb", "audio/mpeg"),
        (b"fLaC", "audio/flac"),
        (b"\x1aE\xdf\xa3", "video/webm"),
        (b"BM", "image/bmp"),
    ];
    if let Some((_, kind)) = MAGIC.iter().find(|(magic, _)| bytes.starts_with(magic)) {
        return Some(kind);
    }
    match (bytes.get(..4), bytes.get(4..8), bytes.get(8..12)) {
        (Some(b"RIFF"), _, Some(b"WEBP")) => Some("image/webp"),
        (Some(b"RIFF"), _, Some(b"WAVE")) => Some("audio/wav"),
        (_, Some(b"ftyp"), Some(b"avif")) => Some("image/avif"),
        (_, Some(b"ftyp"), Some(b"heic")) => Some("image/heic"),
        (_, Some(b"ftyp"), Some(b"M4A ")) => Some("audio/mp4"),
        (_, Some(b"ftyp"), _) => Some("video/mp4"),
        _ => None,
    }
}

/// What the end of a name says.
pub(crate) fn type_of_name(name: &str) -> Option<&'static str> {
    let (_, end) = name.rsplit_once('.')?;
    Some(match end.to_ascii_lowercase().as_str() {
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "webp" => "image/webp",
        "svg" => "image/svg+xml",
        "heic" => "image/heic",
        "pdf" => "application/pdf",
        "csv" => "text/csv",
        "md" | "markdown" => "text/markdown",
        "html" | "htm" => "text/html",
        "txt" | "log" => "text/plain",
        "json" => "application/json",
        "xml" => "application/xml",
        "zip" => "application/zip",
        "wav" => "audio/wav",
        "mp3" => "audio/mpeg",
        "m4a" => "audio/mp4",
        "ogg" => "audio/ogg",
        "mp4" => "video/mp4",
        "webm" => "video/webm",
        "docx" => "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        "xlsx" => "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        "pptx" => "application/vnd.openxmlformats-officedocument.presentationml.presentation",
        _ => return None,
    })
}
