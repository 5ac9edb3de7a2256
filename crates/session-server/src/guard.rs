//! Who is let in: Host, Origin and CORS, then the token and what it may do (the table is in `access`).
//!
//! A web page in a browser on this machine can connect to what listens on a loopback address, whoever wrote the page,
//! and without a token being able to connect is the only credential. So such a server answers only requests that name a
//! loopback host (a page that re-binds its own name to 127.0.0.1 sends its own name) or one that the operator listed,
//! and refuses every `Origin` that is not its own or listed.

use std::{
    net::SocketAddr,
    sync::{Arc, LazyLock},
};

use axum::{
    RequestExt,
    extract::{
        ConnectInfo, MatchedPath, RawPathParams, Request, State,
        rejection::RawPathParamsRejection::InvalidUtf8InPathParam,
    },
    http::{HeaderMap, HeaderValue, Method, StatusCode, Version, header, uri::Authority},
    middleware::Next,
    response::{IntoResponse, Response},
};
use session_protocol::api;
use subtle::ConstantTimeEq;
use url::{Host, Url};

use crate::{
    access::{self, Caller, Need},
    budget::{Budget, Owner},
    config::{Auth, ServerConfig},
    delivery::{AnswerRoom, Outgoing, largest_page},
    following::{Following, Revoked},
    limits::{ClientKey, Limiter},
    problem::{Problem, ProblemCode},
    reading::{self, ReadRequest},
    tokens::{self, KnownTokens},
};

/// Headers that a page may read of an answer: all of the stream protocol's, and what upstream's session server
/// shows.
const EXPOSED: &str = "Stream-Next-Offset, Stream-Cursor, Stream-Up-To-Date, Stream-Closed, Stream-Seq, \
    Stream-SSE-Data-Encoding, Stream-TTL, Stream-Expires-At, Stream-Forked-From, Stream-Fork-Offset, \
    Stream-Fork-Sub-Offset, Producer-Id, Producer-Epoch, Producer-Seq, Producer-Expected-Seq, \
    Producer-Received-Seq, Content-Type, Cache-Control, ETag, Location, Retry-After";
const METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";
/// Headers that a page may send.
static ALLOWED: LazyLock<HeaderValue> = LazyLock::new(|| {
    const OTHERS: &str = "Content-Type, Authorization, Accept, Cache-Control, If-Match, If-None-Match, Last-Event-ID, \
        X-Session-Id, Producer-Id, Producer-Epoch, Producer-Seq, Producer-Expected-Seq, Producer-Received-Seq, \
        Stream-Seq, Stream-Closed, Stream-TTL, Stream-Expires-At, Stream-Forked-From, Stream-Fork-Offset, \
        Stream-Fork-Sub-Offset";
    let ours = [api::header::ACTOR_ID, api::header::ACTOR_TYPE].join(", ");
    HeaderValue::try_from(format!("{OTHERS}, {ours}")).expect("names of headers make one")
});

/// The rules, decided once at start.
pub(crate) struct Guard {
    /// Whether nobody needs a token.
    open: bool,
    /// Whether the server listens where web pages on this machine can connect and others cannot.
    loopback: bool,
    /// Names beside those of loopback that it may be called by.
    hosts: Vec<String>,
    /// Hash of the token that may do everything.
    owner: Option<[u8; 32]>,
    named: Option<KnownTokens>,
    origins: Vec<String>,
    /// `http` or `https`, as the server's own pages have it.
    scheme: &'static str,
    limiter: Limiter,
    following: Following,
    budget: Budget,
    /// Bytes of the largest page that people and agents make.
    largest_page: usize,
}

impl Guard {
    pub(crate) fn new(
        config: &ServerConfig,
        named: Option<KnownTokens>,
        following: Following,
        budget: Budget,
    ) -> Self {
        let auth = &config.auth;
        let owner = match auth {
            Auth::None => None,
            Auth::Token(owner) => Some(owner),
            Auth::Named(owner) => owner.as_ref(),
        };
        let owner = owner.map(|owner| tokens::hash(owner.expose()));
        let origins = config
            .allowed_origins
            .iter()
            .map(|origin| origin.trim_end_matches('/').to_ascii_lowercase())
            .collect();
        let loopback = config.listen.ip().to_canonical().is_loopback();
        let hosts = config.allowed_hosts.iter().map(|host| plain_name(host)).collect();
        let scheme = if config.tls.is_some() { "https" } else { "http" };
        let limiter = Limiter::new(&config.limits);
        let open = matches!(auth, Auth::None);
        let largest_page = largest_page(&config.limits);
        Self {
            open,
            loopback,
            hosts,
            owner,
            named,
            origins,
            scheme,
            limiter,
            following,
            budget,
            largest_page,
        }
    }

    /// Whether a request for this host, with or without a port, is meant for this server.
    fn is_called(&self, host: &str) -> bool {
        let Ok(authority) = host.parse::<Authority>() else { return false };
        let url = Url::parse(&format!("http://{authority}/")).ok();
        let Some(host) = url.as_ref().and_then(Url::host) else { return false };
        let name = plain_name(&host.to_string());
        let loopback = match host {
            Host::Ipv4(ip) => ip.is_loopback(),
            Host::Ipv6(ip) => ip.is_loopback(),
            Host::Domain(_) => name == "localhost" || name.ends_with(".localhost"),
        };
        loopback || self.hosts.contains(&name)
    }

    fn allows_origin(&self, origin: &HeaderValue, own: Option<&str>) -> bool {
        let Ok(origin) = origin.to_str() else { return false };
        let origin = origin.to_ascii_lowercase();
        if self.origins.iter().any(|allowed| *allowed == origin || allowed == "*") {
            return true;
        }
        // Its own pages: same host and port as asked for.
        own.is_some_and(|host| origin == format!("{}://{}", self.scheme, host.to_ascii_lowercase()))
    }

    /// Whom the request's token belongs to; `None` without a valid one.
    async fn caller(&self, headers: &HeaderMap) -> Result<Option<Caller>, Problem> {
        if self.open {
            return Ok(Some(Caller::Owner));
        }
        // Two of them are none: who is in front of this server may have looked at the other one.
        let mut sent = headers.get_all(header::AUTHORIZATION).iter();
        let sent = sent
            .next()
            .filter(|_| sent.next().is_none())
            .and_then(|value| value.to_str().ok())
            .and_then(|value| {
                let (scheme, token) = value.split_once(' ')?;
                scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
            })
            .unwrap_or_default();
        if self.owner.is_some_and(|owner| owner.ct_eq(&tokens::hash(sent)).into()) {
            return Ok(Some(Caller::Owner));
        }
        let Some(named) = &self.named else { return Ok(None) };
        let found = named.find(sent.to_owned()).await?;
        Ok(found.map(|grant| Caller::Named(Arc::new(grant))))
    }

    /// Lets a request through to its route, or says why not. A reader may stay until its token is revoked.
    async fn admit(&self, request: &mut Request) -> Result<Admitted, Problem> {
        let pattern = request.extensions().get::<MatchedPath>().map(|path| path.as_str());
        let need = access::needed(request.method(), pattern);
        let address = peer(request).address;
        if need == Need::Nothing {
            let client = ClientKey::at(address.ip());
            self.limiter.count(&client, false)?;
            return Ok(Admitted { client, revoked: None });
        }
        let caller = self.caller(request.headers()).await?;
        let client = match &caller {
            Some(Caller::Named(grant)) => ClientKey::Named(grant.name.clone()),
            Some(Caller::Owner) => ClientKey::Owner,
            None => ClientKey::at(address.ip()),
        };
        let is_poll =
            reading::of(request).is_some_and(|read| read.as_ref().is_ok_and(ReadRequest::goes_on));
        self.limiter.count(&client, caller.is_some() && is_poll)?;
        let caller = caller.ok_or_else(Problem::unauthorized)?;
        let params = match request.extract_parts::<RawPathParams>().await {
            Ok(_) if !is_escaped(request.uri().path()) => return Err(Problem::invalid_id()),
            Ok(params) => Some(params),
            Err(InvalidUtf8InPathParam(_)) => return Err(Problem::invalid_id()),
            Err(_) => None, // no route, no parameters
        };
        let session = params.as_ref().and_then(|params| {
            params.iter().find(|(name, _)| *name == "session").map(|(_, value)| value)
        });
        caller.check(need, session)?;
        if let Some(Err(unclear)) = reading::of(request) {
            return Err(unclear.clone());
        }
        let revoked = match &caller {
            // Every read, whether it seems to end by itself or not: what is not known here would go on for ever.
            Caller::Named(grant) if is_read(request.method()) => {
                Some(self.following.begin(&grant.token_id))
            }
            Caller::Named(_) | Caller::Owner => None,
        };
        request.extensions_mut().insert(caller);
        Ok(Admitted { client, revoked })
    }
}

impl Guard {
    /// Lets a request through, and its answer out.
    async fn answer(&self, mut request: Request, next: Next) -> Response {
        let outgoing = peer(&request).outgoing.clone();
        let Admitted { client, revoked } = match self.admit(&mut request).await {
            Ok(admitted) => admitted,
            Err(problem) => return problem.into_response(),
        };
        request.extensions_mut().insert(client.clone());
        let owner = Owner::Client(client);
        let answer = next.run(request);
        let answer = match &revoked {
            None => answer.await,
            Some(token) => tokio::select! {
                answer = answer => answer,
                () = token.revoked() => return Problem::unauthorized().into_response(),
            },
        };
        let room = AnswerRoom { budget: &self.budget, owner: &owner, bytes: self.largest_page };
        room.deliver(answer, &outgoing, revoked)
    }
}

/// The peer at the other end of a request's connection.
fn peer(request: &Request) -> &Peer {
    let peer = request.extensions().get::<ConnectInfo<Peer>>();
    &peer.expect("the server gives every request's peer").0
}

/// A request that was let through: the terms of its answer.
struct Admitted {
    /// Whose answer it is.
    client: ClientKey,
    /// Ends the answer when its token is revoked.
    revoked: Option<Revoked>,
}

/// The middleware in front of every route.
pub(crate) async fn check(
    State(guard): State<Arc<Guard>>,
    request: Request,
    next: Next,
) -> Response {
    let host = match host_of(&request) {
        Ok(host) => host,
        Err(problem) => return problem.into_response(),
    };
    let origin = request.headers().get(header::ORIGIN).cloned();
    let mut origins = request.headers().get_all(header::ORIGIN).iter();
    let allowed = origins.all(|origin| guard.allows_origin(origin, host.as_deref()));

    if guard.loopback {
        if !host.as_deref().is_some_and(|host| guard.is_called(host)) {
            return Problem::new(
                StatusCode::FORBIDDEN,
                ProblemCode::HostRefused,
                "This server answers only to loopback and listed host names",
            )
            .into_response();
        }
        if origin.is_some() && !allowed {
            return Problem::new(
                StatusCode::FORBIDDEN,
                ProblemCode::OriginRefused,
                "Web pages of this origin may not use this server",
            )
            .into_response();
        }
    }

    let mut response = if request.method() == Method::OPTIONS {
        StatusCode::NO_CONTENT.into_response() // a preflight never carries a token
    } else {
        guard.answer(request, next).await
    };
    cors(response.headers_mut(), origin.filter(|_| allowed));
    response
}

fn is_read(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

/// The one host that a request is for, with or without a port; `None` where it names none.
///
/// # Errors
///
/// RFC 9112 §3.2: two of them, or none in HTTP/1.1, or one that is none. Who is in front of this server may have looked
/// at another one than this server would.
fn host_of(request: &Request) -> Result<Option<String>, Problem> {
    let mut named = request.headers().get_all(header::HOST).iter();
    let (header, more) = (named.next(), named.next());
    let text = header.map(|host| host.to_str().map_err(|_| bad_host())).transpose()?;
    let asked = request.uri().authority().map(Authority::as_str);
    let is_host = |host: &str| {
        host.is_empty() || host.parse::<Authority>().is_ok_and(|host| !host.as_str().contains('@'))
    };
    // An empty one is allowed, and is nobody's name.
    if more.is_some() || ![text, asked].into_iter().flatten().all(is_host) {
        return Err(bad_host());
    }
    match (text, asked) {
        (None, _) if request.version() == Version::HTTP_11 => Err(bad_host()),
        (Some(text), Some(asked)) if !text.eq_ignore_ascii_case(asked) => Err(bad_host()),
        (text, asked) => Ok(asked.or(text).map(str::to_owned)),
    }
}

fn bad_host() -> Problem {
    Problem::bad_request("a request names its host, once, and its address names no other")
        .titled(ProblemCode::InvalidHost, "Invalid host")
}

/// The other end of a connection.
#[derive(Clone)]
pub(crate) struct Peer {
    pub(crate) address: SocketAddr,
    /// Answers on their way there.
    pub(crate) outgoing: Outgoing,
}

/// Says what an allowed page may do. Credentials are never allowed: tokens are sent by hand, not by cookies.
fn cors(headers: &mut HeaderMap, origin: Option<HeaderValue>) {
    for name in [
        header::ACCESS_CONTROL_ALLOW_ORIGIN,
        header::ACCESS_CONTROL_ALLOW_METHODS,
        header::ACCESS_CONTROL_ALLOW_HEADERS,
        header::ACCESS_CONTROL_EXPOSE_HEADERS,
        header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
    ] {
        headers.remove(name); // the embedded stream router has its own idea
    }
    headers.append(header::VARY, HeaderValue::from_static("Origin"));
    if let Some(origin) = origin {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(METHODS));
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, ALLOWED.clone());
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    }
}

/// Whether each `%` begins an escape.
fn is_escaped(path: &str) -> bool {
    let escapes = path.split('%').skip(1);
    let mut escapes = escapes.map(|after| after.as_bytes().get(..2).unwrap_or_default());
    escapes.all(|digits| digits.len() == 2 && digits.iter().all(u8::is_ascii_hexdigit))
}

/// A host's name as it is compared.
fn plain_name(host: &str) -> String {
    host.trim_end_matches('.').to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_and_listed_names_are_answered_to() {
        let mut config = ServerConfig::new("");
        config.allowed_hosts = vec!["Sessions.Example".to_owned(), "192.0.2.1".to_owned()];
        let guard = Guard::new(&config, None, Following::default(), Budget::new(&config.limits));
        for host in [
            "localhost",
            "LOCALHOST.:4000",
            "a.localhost",
            "127.0.0.1:1",
            "127.9.9.9",
            "[::1]:80",
            "sessions.example",
            "SESSIONS.example.:443",
            "192.0.2.1:4000",
        ] {
            assert!(guard.is_called(host), "{host}");
        }
        for host in [
            "evil.example",
            "localhost.evil.example",
            "sessions.example.evil.example",
            "a.sessions.example",
            "10.0.0.1",
            "",
            "0.0.0.0",
            "a b",
        ] {
            assert!(!guard.is_called(host), "{host}");
        }
    }
}
