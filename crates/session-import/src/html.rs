//! HTML of others as Markdown: sanitised first, without scripts and images.

use std::collections::HashSet;

/// The words of some HTML as Markdown.
pub(crate) fn to_markdown(html: &str) -> String {
    let safe = ammonia::Builder::default()
        .rm_tags(["img", "map", "area"])
        .url_schemes(HashSet::from(["http", "https", "mailto"]))
        .clean(html)
        .to_string();
    htmd::convert(&safe).unwrap_or_else(|_| plain(&safe))
}

/// The words of some HTML without any of its tags.
pub(crate) fn plain(html: &str) -> String {
    let text = ammonia::Builder::empty().clean(html).to_string();
    unescaped(&text)
}

/// The characters that stand for themselves only as entities: the five of XML, a space that does not break, and numbers.
pub(crate) fn unescaped(text: &str) -> String {
    if !text.contains('&') {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let name = rest.find(';').filter(|end| *end <= 10).map(|end| &rest[1..end]);
        let character = name.and_then(|name| match name {
            "amp" => Some('&'),
            "lt" => Some('<'),
            "gt" => Some('>'),
            "quot" => Some('"'),
            "apos" => Some('\''),
            "nbsp" => Some('\u{a0}'),
            _ => {
                let digits = name.strip_prefix('#')?;
                let number = match digits.strip_prefix(['x', 'X']) {
                    Some(hex) => u32::from_str_radix(hex, 16).ok()?,
                    None => digits.parse().ok()?,
                };
                char::from_u32(number)
            }
        });
        match (character, name) {
            (Some(character), Some(name)) => {
                out.push(character);
                rest = &rest[name.len() + 2..];
            }
            _ => {
                out.push('&');
                rest = &rest[1..];
            }
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn html_becomes_markdown_without_what_runs_or_is_fetched() {
        let html = "<p>Bring <strong>bread</strong> &amp; cheese.</p><ul><li>Knife</li></ul>\
            <script>alert(1)</script><img src=\"https://track.example/p.gif\">\
            <a href=\"javascript:alert(1)\">x</a>";
        let markdown = to_markdown(html);
        assert!(markdown.contains("**bread** & cheese"), "{markdown}");
        assert!(markdown.contains("Knife"));
        for gone in ["alert", "track", "<p>", "<img"] {
            assert!(!markdown.contains(gone), "{markdown}");
        }
        assert_eq!(unescaped("&quot;a&quot; &#39;&#x41; &unknown; &"), "\"a\" 'A &unknown; &");
    }
}
