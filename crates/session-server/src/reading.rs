//! A read of a stream, as its reader asks for it, decoded once.
//!
//! The stream router decodes a query before it looks at it: escapes in names and values, `+` for a space. Whoever
//! decides something about a read on the query as it came decides about another read than the router answers. So a
//! query is decoded here, by the rules of the router's own decoder, and everything is decided on the result: the
//! limits, presence, metrics, and when the read ends. The router, and a stream server elsewhere, get it written anew,
//! so that they cannot understand it otherwise. What could be understood in two ways is refused.

use axum::{
    extract::{MatchedPath, Request},
    http::{Method, Uri, uri::PathAndQuery},
    middleware::Next,
    response::Response,
};
use url::form_urlencoded;

use crate::problem::{Problem, ProblemCode};

pub(crate) use session_protocol::api::path::STREAMS as MOUNT;

/// The decoded query of a read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ReadRequest {
    offset: Option<String>,
    live: Option<String>,
    cursor: Option<String>,
}

impl ReadRequest {
    /// Decodes a query as the router does. Names that it does not know are left out.
    ///
    /// # Errors
    ///
    /// A name is there twice: which one counts is everybody's own guess.
    fn decode(query: &str) -> Result<Self, Problem> {
        let mut read = Self::default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let field = match &*name {
                "offset" => &mut read.offset,
                "live" => &mut read.live,
                "cursor" => &mut read.cursor,
                _ => continue,
            };
            if field.replace(value.into_owned()).is_some() {
                return Err(unclear("offset, live and cursor may be given once each"));
            }
        }
        Ok(read)
    }

    /// The query that says the same and can be read in one way only.
    fn encode(&self) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        for (name, value) in
            [("offset", &self.offset), ("live", &self.live), ("cursor", &self.cursor)]
        {
            if let Some(value) = value {
                query.append_pair(name, value);
            }
        }
        query.finish()
    }

    /// Whether the read waits for what comes next: it comes back as often as somebody writes.
    pub(crate) fn follows(&self) -> bool {
        self.live.is_some()
    }

    /// Whether the read follows from where an earlier one ended, and does not read everything again.
    pub(crate) fn goes_on(&self) -> bool {
        matches!(self.live.as_deref(), Some("long-poll" | "sse"))
            && self.offset.as_ref().is_some_and(|offset| !offset.is_empty() && offset != "-1")
    }

    /// Where the read begins, as it was asked for.
    pub(crate) fn offset(&self) -> Option<&str> {
        self.offset.as_deref()
    }

    /// Whether the read begins at the end, which is another place each time.
    pub(crate) fn is_from_now(&self) -> bool {
        self.offset.as_deref() == Some("now")
    }
}

/// The decoded read of a request, when it is one; `Err` when it says two things at once.
pub(crate) fn of(request: &Request) -> Option<&Result<ReadRequest, Problem>> {
    request.extensions().get()
}

/// Whether a request is a read that follows a stream.
pub(crate) fn follows(request: &Request) -> bool {
    of(request).is_some_and(|read| read.as_ref().is_ok_and(ReadRequest::follows))
}

/// The outermost layer of every route: describes the request for all layers behind it.
pub(crate) async fn describe(mut request: Request, next: Next) -> Response {
    let pattern = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
    let is_stream =
        pattern.and_then(|path| path.strip_prefix(MOUNT)).is_some_and(|rest| rest.starts_with('/'));
    // The head of a stream does not depend on a query, and nothing waits for it.
    let read = match *request.method() {
        Method::GET if is_stream => ReadRequest::decode(request.uri().query().unwrap_or_default()),
        Method::HEAD if is_stream => Ok(ReadRequest::default()),
        _ => return next.run(request).await,
    };
    let read = read.and_then(|read| {
        *request.uri_mut() = asked_as(request.uri(), &read.encode())?;
        Ok(read)
    });
    request.extensions_mut().insert(read);
    next.run(request).await
}

/// The address with another query.
///
/// # Errors
///
/// It is longer than an address may be: escapes take more room than what they stand for.
fn asked_as(uri: &Uri, query: &str) -> Result<Uri, Problem> {
    let path = uri.path();
    let path = if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(path).map_err(|_| unclear("too long"))?);
    Uri::from_parts(parts).map_err(|_| unclear("not an address"))
}

fn unclear(details: &str) -> Problem {
    Problem::bad_request(details).titled(ProblemCode::InvalidRequest, "Invalid offset or live mode")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &str) -> ReadRequest {
        ReadRequest::decode(query).unwrap()
    }

    #[test]
    fn every_spelling_of_a_query_is_the_same_read() {
        let plain = read("offset=now&live=sse");
        assert!(plain.follows() && plain.is_from_now() && plain.goes_on());
        for query in [
            "offset=now&l%69ve=sse",
            "%6cive=s%73e&%6Fffset=%6e%6F%77",
            "&&live=sse&offset=now&other=1&live2=no",
        ] {
            assert_eq!(read(query), plain, "{query}");
        }
        assert_eq!(read("live=s+e").encode(), "live=s+e");
        assert!(read("live").follows(), "the router refuses it, but it is not another read");
        for query in ["", "Live=sse", "l+ive=sse", "live%3Dsse", "live%00=sse", "l%2569ve=sse"] {
            assert!(!read(query).follows(), "{query}");
            assert_eq!(read(query).encode(), "");
        }
    }

    #[test]
    fn what_is_written_anew_is_read_as_the_same() {
        for query in ["offset=-1&cursor=a%26live%3Dsse", "offset=%ff%00&live=%2B", "live=ä+%C3%A4"]
        {
            assert_eq!(read(&read(query).encode()), read(query), "{query}");
        }
        let uri: Uri = "http://localhost/v1/stream/a%2Fb?x=1".parse().unwrap();
        let with = |query| asked_as(&uri, query).unwrap();
        assert_eq!(with("live=sse"), "http://localhost/v1/stream/a%2Fb?live=sse");
        assert_eq!(with(""), "http://localhost/v1/stream/a%2Fb");
        let long = read(&format!("offset={}", "%ff".repeat(20_000)));
        assert!(asked_as(&uri, &long.encode()).is_err(), "refused, not fallen over");
    }

    #[test]
    fn a_name_that_is_there_twice_is_refused_however_it_is_spelt() {
        for query in ["live=sse&l%69ve=sse", "offset=-1&offset=now", "cursor&cursor"] {
            assert!(ReadRequest::decode(query).is_err(), "{query}");
        }
    }
}
