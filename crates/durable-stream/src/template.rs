//! Addresses of streams by their ids.

use std::fmt::Write as _;

use url::Url;

use crate::error::Error;

/// A pattern for the addresses of a server's streams, such as `{base}/v1/stream/sessions/{id}` or
/// `https://streams.example.org/{bucket}/{id}`.
///
/// A value is one path segment: everything in it that means something in a URL is percent-encoded.
/// Only `{base}`, at the very start, is taken as it is, without a slash at its end.
///
/// # Examples
///
/// ```
/// use durable_stream::UrlTemplate;
///
/// let template = UrlTemplate::new("{base}/v1/stream/sessions/{id}")?;
/// let url = template.expand(&[("base", "http://127.0.0.1:4437/"), ("id", "a/b")])?;
/// assert_eq!(url.as_str(), "http://127.0.0.1:4437/v1/stream/sessions/a%2Fb");
/// # Ok::<(), durable_stream::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UrlTemplate {
    parts: Vec<TemplatePart>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum TemplatePart {
    Text(String),
    Variable(String),
}

impl UrlTemplate {
    /// Reads a pattern.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidInput`] if a brace has no partner, a name is empty or not made of letters,
    /// digits and `_`, or `{base}` is not at the start.
    ///
    /// # Examples
    ///
    /// ```
    /// use durable_stream::UrlTemplate;
    ///
    /// assert!(UrlTemplate::new("https://streams.example.org/{bucket}/{id}").is_ok());
    /// assert!(UrlTemplate::new("https://streams.example.org/{id").is_err());
    /// ```
    pub fn new(pattern: &str) -> Result<Self, Error> {
        let invalid = |reason| Error::InvalidInput { what: "URL template", reason };
        let mut parts = Vec::new();
        let mut rest = pattern;
        while let Some(open) = rest.find(['{', '}']) {
            if rest[open..].starts_with('}') {
                return Err(invalid("a closing brace has no opening one"));
            }
            if open > 0 {
                parts.push(TemplatePart::Text(rest[..open].to_owned()));
            }
            let inside = &rest[open + 1..];
            let close =
                inside.find('}').ok_or_else(|| invalid("an opening brace has no closing one"))?;
            let name = &inside[..close];
            if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
                return Err(invalid("a name is made of letters, digits and _"));
            }
            if name == "base" && !parts.is_empty() {
                return Err(invalid("{base} must be at the start"));
            }
            parts.push(TemplatePart::Variable(name.to_owned()));
            rest = &inside[close + 1..];
        }
        if !rest.is_empty() {
            parts.push(TemplatePart::Text(rest.to_owned()));
        }
        Ok(Self { parts })
    }

    /// The address for these values.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidInput`] if a value is missing, empty, `.` or `..`, or the result is not an
    /// `http` or `https` URL.
    ///
    /// # Examples
    ///
    /// ```
    /// use durable_stream::UrlTemplate;
    ///
    /// let template = UrlTemplate::new("https://streams.example.org/{id}")?;
    /// assert_eq!(template.expand(&[("id", "a b")])?.as_str(), "https://streams.example.org/a%20b");
    /// assert!(template.expand(&[]).is_err());
    /// # Ok::<(), durable_stream::Error>(())
    /// ```
    pub fn expand(&self, values: &[(&str, &str)]) -> Result<Url, Error> {
        let invalid = |reason| Error::InvalidInput { what: "URL", reason };
        let mut text = String::new();
        for part in &self.parts {
            let name = match part {
                TemplatePart::Text(literal) => {
                    text.push_str(literal);
                    continue;
                }
                TemplatePart::Variable(name) => name,
            };
            let (_, value) = values
                .iter()
                .find(|(given, _)| given == name)
                .ok_or_else(|| invalid("a value of the template is missing"))?;
            if name == "base" {
                text.push_str(value.trim_end_matches('/'));
            } else if matches!(*value, "" | "." | "..") {
                return Err(invalid("a value must not be empty or dots"));
            } else {
                push_segment(&mut text, value);
            }
        }
        let url = Url::parse(&text).map_err(|_| invalid("the template does not make one"))?;
        if !matches!(url.scheme(), "http" | "https") || url.cannot_be_a_base() {
            return Err(invalid("it must start with http or https"));
        }
        Ok(url)
    }
}

/// Leaves the unreserved characters of RFC 3986 §2.3 and encodes all others.
fn push_segment(text: &mut String, value: &str) {
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            text.push(char::from(byte));
        } else {
            write!(text, "%{byte:02X}").expect("writing to a String does not fail");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_cannot_leave_its_segment() {
        let template = UrlTemplate::new("http://h/{bucket}/{id}").unwrap();
        let url = template.expand(&[("bucket", "a b"), ("id", "x/../y?z#é")]).unwrap();
        assert_eq!(url.as_str(), "http://h/a%20b/x%2F..%2Fy%3Fz%23%C3%A9");
        for value in ["", ".", ".."] {
            assert!(template.expand(&[("bucket", "b"), ("id", value)]).is_err());
        }
        assert!(template.expand(&[("bucket", "b")]).is_err());
    }

    #[test]
    fn refuses_a_pattern_that_says_nothing_clear() {
        for pattern in
            ["http://h/{id", "http://h/id}", "http://h/{}", "http://h/{a b}", "http://h/{base}"]
        {
            assert!(UrlTemplate::new(pattern).is_err(), "{pattern}");
        }
        let other = UrlTemplate::new("{base}/x").unwrap();
        assert!(other.expand(&[("base", "file:///tmp")]).is_err());
        assert!(other.expand(&[("base", "no url")]).is_err());
    }
}
