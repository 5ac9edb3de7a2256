//! Which addresses webhook agents may have.
//!
//! Whoever may register an agent can make the server send requests, so an agent's URL must not reach what only the
//! server can reach: this machine, the local network, a cloud's metadata address. The URL is checked when the agent is
//! registered; every connection checks the addresses its name resolves to, and every redirect is checked like a new
//! URL. Origins that the operator lists are exempt and are called by a client of their own.
//!
//! Redirects are followed here and not by the HTTP client: it would send an agent's headers, which hold keys, to
//! wherever the agent points. They go to the agent's own origin only.

use std::{
    error::Error,
    io, iter,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use durable_stream::http_client;
use reqwest::{
    Client, Response, StatusCode,
    dns::{Addrs, Name, Resolve, Resolving},
    header::{self, HeaderMap},
    redirect,
};
use url::{Host, Origin, Url};

use crate::error::ServerError;

const REDIRECTS: usize = 5;
const CONNECT: Duration = Duration::from_secs(10);
/// Time for looking at a name's addresses before anything is connected.
const LOOKUP: Duration = Duration::from_secs(2);
/// Endings of names that only this machine or the network around it knows (RFC 6761, 6762 and 8375, ICANN's
/// `internal`, and what routers use).
const LOCAL: [&str; 7] =
    ["localhost", "local", "localdomain", "internal", "intranet", "lan", "home.arpa"];
/// Between two pieces of an answer; models think long.
const READ: Duration = Duration::from_secs(600);

/// Why an agent's URL is refused. The text says what to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RefusedAddress {
    #[error("an agent's endpoint must be an http or https URL")]
    Scheme,
    #[error("put credentials into the agent's headers, not into its URL")]
    Credentials,
    #[error(
        "this address is not public; start the server with --allow-agent-origin to allow its origin"
    )]
    Private,
}

/// Why an agent gave no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unanswered {
    #[error(transparent)]
    Refused(#[from] RefusedAddress),
    #[error("the agent redirected too often, or to nowhere")]
    Redirects,
    #[error("{}", durable_stream::NO_CERTIFICATES)]
    Certificates,
    #[error(transparent)]
    Failed(reqwest::Error),
}

impl From<reqwest::Error> for Unanswered {
    fn from(error: reqwest::Error) -> Self {
        if durable_stream::lacks_certificates(&error) {
            return Self::Certificates;
        }
        // What the resolver refused looks like a broken network, but is none.
        let mut causes = iter::successors(error.source(), |&cause| cause.source());
        let refused = causes.find_map(|cause| cause.downcast_ref::<RefusedAddress>()).copied();
        refused.map_or(Self::Failed(error), Self::Refused)
    }
}

/// The rules, and the HTTP clients that keep them.
pub(crate) struct Outbound {
    allowed: Vec<Origin>,
    allow_private: bool,
    guarded: Client,
    trusted: Client,
}

impl Outbound {
    pub(crate) fn new(allowed: &[Url], allow_private: bool) -> Result<Self, ServerError> {
        let allowed: Vec<Origin> = allowed.iter().map(Url::origin).collect();
        let resolver = Arc::new(PublicOnly(system));
        let guarded = http_client(|| client().dns_resolver(Arc::clone(&resolver)));
        let guarded = guarded.map_err(ServerError::HttpClient)?;
        let trusted = http_client(client).map_err(ServerError::HttpClient)?;
        Ok(Self { allowed, allow_private, guarded, trusted })
    }

    /// The URL of an agent, when it may be called.
    pub(crate) fn check(&self, endpoint: &str) -> Result<Url, RefusedAddress> {
        let url = Url::parse(endpoint).map_err(|_| RefusedAddress::Scheme)?;
        if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
            return Err(RefusedAddress::Scheme);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(RefusedAddress::Credentials);
        }
        if !self.trusts(&url) {
            public_url(&url)?;
        }
        Ok(url)
    }

    /// Checks as [`check`](Self::check) does, and the addresses that the name has now are looked at, so that a mistake
    /// is told at once. A name that cannot be looked up passes: it may be known later, and every connection checks
    /// again.
    ///
    /// # Cancel safety
    ///
    /// Nothing is connected or kept.
    pub(crate) async fn check_resolved(&self, endpoint: &str) -> Result<Url, RefusedAddress> {
        let url = self.check(endpoint)?;
        if let Some(Host::Domain(name)) = url.host()
            && !self.trusts(&url)
        {
            public_or_unknown(system(name.to_owned())).await?;
        }
        Ok(url)
    }

    /// Posts JSON to an agent and gives its answer, whatever its status. A redirect is followed with the same method
    /// and body, as 307 and 308 ask for and agents behind a moved URL need; `secrets` are for the endpoint's own
    /// origin.
    ///
    /// # Cancel safety
    ///
    /// The agent may have got the request.
    pub(crate) async fn post(
        &self,
        endpoint: &str,
        secrets: HeaderMap,
        body: Vec<u8>,
    ) -> Result<Response, Unanswered> {
        const ACCEPT: &str = "text/event-stream, application/x-ndjson, application/json";
        let body = bytes::Bytes::from(body);
        let mut url = self.check(endpoint)?;
        let own = url.origin();
        for _ in 0..=REDIRECTS {
            let client = if self.trusts(&url) { &self.trusted } else { &self.guarded };
            let mut call = client
                .post(url.clone())
                .header(header::ACCEPT, ACCEPT)
                .header(header::CONTENT_TYPE, "application/json")
                .body(body.clone());
            if url.origin() == own {
                call = call.headers(secrets.clone());
            }
            let answer = call.send().await?;
            if !is_moved(&answer) {
                return Ok(answer);
            }
            let next = moved_to(&answer, &url);
            url = self.check(next.ok_or(Unanswered::Redirects)?.as_str())?;
        }
        Err(Unanswered::Redirects)
    }

    fn trusts(&self, url: &Url) -> bool {
        self.allow_private || self.allowed.contains(&url.origin())
    }
}

/// Whether an answer says that the request belongs elsewhere.
pub(crate) fn is_moved(answer: &Response) -> bool {
    matches!(
        answer.status(),
        StatusCode::MOVED_PERMANENTLY
            | StatusCode::FOUND
            | StatusCode::TEMPORARY_REDIRECT
            | StatusCode::PERMANENT_REDIRECT
    )
}

/// Where that is, if it is anywhere.
pub(crate) fn moved_to(answer: &Response, asked: &Url) -> Option<Url> {
    let location = answer.headers().get(header::LOCATION)?;
    asked.join(location.to_str().ok()?).ok()
}

/// A client without a proxy: that would resolve names itself, past our resolver.
fn client() -> reqwest::ClientBuilder {
    let none = redirect::Policy::none();
    Client::builder().no_proxy().redirect(none).connect_timeout(CONNECT).read_timeout(READ)
}

/// Literal addresses never reach a resolver, so the URL itself is looked at first. The URL parser has already turned
/// `0x7f000001`, `2130706433` and `127.1` into 127.0.0.1.
fn public_url(url: &Url) -> Result<(), RefusedAddress> {
    let public = match url.host() {
        Some(Host::Ipv4(ip)) => is_public(IpAddr::V4(ip)),
        Some(Host::Ipv6(ip)) => is_public(IpAddr::V6(ip)),
        Some(Host::Domain(name)) => !is_local(name.trim_end_matches('.')),
        None => false,
    };
    if public { Ok(()) } else { Err(RefusedAddress::Private) }
}

/// Whether only this machine or its network can know the name: one label (`db`, `ip6-loopback`) or a local ending.
fn is_local(name: &str) -> bool {
    let ends = |ending: &str| {
        name.strip_suffix(ending).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    };
    !name.contains('.') || LOCAL.into_iter().any(ends)
}

/// Whether an address is on the public internet.
fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => is_public_v6(ip),
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    !(ip.is_private()
        || ip.is_loopback()
        || ip.is_link_local()
        || a == 0
        || (a == 100 && (64..128).contains(&b))
        || (a == 192 && b == 0 && (c == 0 || c == 2))
        || (a == 192 && b == 88 && c == 99)
        || (a == 198 && (b == 18 || b == 19))
        || ip.is_documentation()
        || a >= 224)
}

/// Only 2000::/3, without the ranges that hide an IPv4 address (6to4, Teredo) or are for documentation.
fn is_public_v6(ip: Ipv6Addr) -> bool {
    let [first, second, ..] = ip.segments();
    (first & 0xe000) == 0x2000
        && first != 0x2002
        && !(first == 0x2001 && (second < 0x0200 || second == 0x0db8))
        && first != 0x3fff
}

/// Resolves a name only when all of its addresses are public: with one private address among public ones, which one is
/// connected to would be up to whoever owns the name.
///
/// A connection is made to the addresses that were looked at, so a name whose answer changes gains nothing.
struct PublicOnly<L>(L);

/// Refuses a name that has an address that is not public.
async fn public_or_unknown(
    lookup: impl Future<Output = io::Result<Vec<SocketAddr>>>,
) -> Result<(), RefusedAddress> {
    match tokio::time::timeout(LOOKUP, lookup).await {
        Ok(Ok(addrs)) if !addrs.iter().all(|addr| is_public(addr.ip())) => {
            Err(RefusedAddress::Private)
        }
        _ => Ok(()),
    }
}

async fn system(name: String) -> io::Result<Vec<SocketAddr>> {
    Ok(tokio::net::lookup_host((name, 0)).await?.collect())
}

impl<L, F> Resolve for PublicOnly<L>
where
    L: Fn(String) -> F + Send + Sync,
    F: Future<Output = io::Result<Vec<SocketAddr>>> + Send + 'static,
{
    fn resolve(&self, name: Name) -> Resolving {
        let lookup = (self.0)(name.as_str().to_owned());
        Box::pin(async move {
            let addrs = lookup.await?;
            if addrs.is_empty() || !addrs.iter().all(|addr| is_public(addr.ip())) {
                return Err(RefusedAddress::Private.into());
            }
            Ok(Box::new(addrs.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::VecDeque, sync::Mutex};

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    fn check(endpoint: &str) -> Result<Url, RefusedAddress> {
        Outbound::new(&[], false).unwrap().check(endpoint)
    }

    #[test]
    fn refuses_every_spelling_of_a_private_address() {
        for host in [
            "127.0.0.1",
            "[::1]",
            "[::ffff:127.0.0.1]",
            "[::ffff:7f00:1]",
            "0x7f000001",
            "2130706433",
            "127.1",
            "0177.0.0.1",
            "169.254.169.254",
            "localhost",
            "LOCALHOST.",
            "a.localhost",
            "0.0.0.0",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "100.64.0.1",
            "192.0.0.1",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "[fe80::1]",
            "[fd00::1]",
            "[64:ff9b::7f00:1]",
            "[2002:7f00:1::]",
            "[2001::1]",
            "[::]",
            "127.0.0.1.",
            "[fec0::1]",
            "[ff02::1]",
        ] {
            let url = format!("http://{host}:8080/agent");
            assert_eq!(check(&url), Err(RefusedAddress::Private), "{url}");
        }
    }

    #[test]
    fn refuses_names_that_only_a_local_network_knows() {
        for host in [
            "db",
            "db.",
            "ip6-localhost",
            "ip6-loopback",
            "metadata.google.internal",
            "INTERNAL",
            "printer.local",
            "box.localdomain",
            "nas.lan",
            "nas.home.arpa",
            "home.arpa",
            "wiki.intranet.",
        ] {
            let url = format!("http://{host}:8080/agent");
            assert_eq!(check(&url), Err(RefusedAddress::Private), "{url}");
            let listed = Outbound::new(&[Url::parse(&url).unwrap()], false).unwrap();
            assert!(listed.check(&url).is_ok(), "{url}");
        }
        for host in ["local.example", "mylan.example", "example.thelan", "internal.example.com"] {
            assert!(check(&format!("http://{host}/")).is_ok(), "{host}");
        }
    }

    #[tokio::test]
    async fn the_addresses_of_a_name_are_looked_at_where_there_are_any() {
        let [public, private]: [SocketAddr; 2] =
            ["93.184.216.34:0", "10.0.0.1:0"].map(|addr| addr.parse().unwrap());
        let found = |addrs: &[SocketAddr]| std::future::ready(Ok(addrs.to_vec()));
        for private in [&[private][..], &[public, private]] {
            assert_eq!(public_or_unknown(found(private)).await, Err(RefusedAddress::Private));
        }
        assert_eq!(public_or_unknown(found(&[public])).await, Ok(()));
        let unknown = std::future::ready(Err(io::ErrorKind::NotFound.into()));
        assert_eq!(public_or_unknown(unknown).await, Ok(()));
        assert_eq!(public_or_unknown(std::future::pending()).await, Ok(()), "after two seconds");

        let outbound = Outbound::new(&[], false).unwrap();
        assert_eq!(outbound.check_resolved("http://db/").await, Err(RefusedAddress::Private));
        assert!(outbound.check_resolved("http://1.1.1.1/").await.is_ok());
        assert!(outbound.check_resolved("http://nowhere.invalid/").await.is_ok());
        let trusting = Outbound::new(&[], true).unwrap();
        assert!(trusting.check_resolved("http://localhost/").await.is_ok());
    }

    #[test]
    fn refuses_what_is_not_a_web_address() {
        for url in ["file:///etc/passwd", "ftp://example.com", "agent", "", "http://"] {
            assert_eq!(check(url), Err(RefusedAddress::Scheme), "{url}");
        }
        assert_eq!(check("https://u:p@example.com/"), Err(RefusedAddress::Credentials));
    }

    #[test]
    fn allows_public_addresses_and_listed_origins() {
        for url in ["https://example.com/agent", "http://1.1.1.1/", "http://[2606:4700::1111]/"] {
            assert!(check(url).is_ok(), "{url}");
        }
        let listed = Url::parse("http://127.0.0.1:3002").unwrap();
        let outbound = Outbound::new(&[listed], false).unwrap();
        assert!(outbound.check("http://127.0.0.1:3002/api/chat").is_ok());
        assert_eq!(outbound.check("http://127.0.0.1:3003/").unwrap_err(), RefusedAddress::Private);
        assert_eq!(outbound.check("https://127.0.0.1:3002/").unwrap_err(), RefusedAddress::Private);
    }

    #[tokio::test]
    async fn a_name_that_resolves_to_this_machine_is_not_connected() {
        let resolved = PublicOnly(system).resolve("localhost".parse().unwrap()).await;
        assert!(resolved.is_err());
    }

    /// A server on this machine that keeps the requests it gets and answers each with a redirect.
    async fn local(location: String) -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&seen);
        tokio::spawn(async move {
            while let Ok((mut connection, _)) = listener.accept().await {
                let answer = format!(
                    "HTTP/1.1 307 Moved\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n"
                );
                let mut request = [0; 4096];
                let length = connection.read(&mut request).await;
                let length = length.expect("a request comes first");
                kept.lock().unwrap().push(String::from_utf8_lossy(&request[..length]).into_owned());
                connection.write_all(answer.as_bytes()).await.ok();
            }
        });
        (addr, seen)
    }

    fn origin_of(addr: SocketAddr) -> Url {
        Url::parse(&format!("http://{addr}")).unwrap()
    }

    async fn post(outbound: &Outbound, addr: SocketAddr) -> Result<Response, Unanswered> {
        let secrets = [(header::AUTHORIZATION, "hush"), ("x-key".parse().unwrap(), "hush")];
        let secrets = secrets.map(|(name, value)| (name, value.parse().unwrap()));
        outbound.post(&format!("http://{addr}/agent"), secrets.into_iter().collect(), vec![]).await
    }

    #[tokio::test]
    async fn a_redirect_is_checked_like_a_new_url() {
        let (inner, seen) = local("/".to_owned()).await;
        let port = inner.port();
        let mut locations: Vec<String> =
            ["127.0.0.1", "localhost", "2130706433", "[::ffff:127.0.0.1]", "0x7f000001", "127.1"]
                .map(|host| format!("http://{host}:{port}/agent"))
                .into();
        locations.push("http://169.254.169.254/latest/meta-data".to_owned());
        locations.push("file:///etc/passwd".to_owned());
        for location in locations {
            let (outer, _) = local(location.clone()).await;
            let outbound = Outbound::new(&[origin_of(outer)], false).unwrap();
            let refused = post(&outbound, outer).await.unwrap_err();
            assert!(matches!(refused, Unanswered::Refused(_)), "{location}: {refused:?}");
        }
        assert_eq!(seen.lock().unwrap().len(), 0);
    }

    #[tokio::test]
    async fn an_agents_headers_go_to_its_own_origin_only() {
        let (other, seen) = local("/again".to_owned()).await;
        let (agent, first) = local(format!("http://{other}/agent")).await;
        let outbound = Outbound::new(&[origin_of(agent), origin_of(other)], false).unwrap();
        let endless = post(&outbound, agent).await.unwrap_err();
        assert!(matches!(endless, Unanswered::Redirects), "{endless:?}");
        let (first, seen) = (first.lock().unwrap(), seen.lock().unwrap());
        assert_eq!((first.len(), seen.len()), (1, REDIRECTS));
        assert_eq!(first[0].matches("hush").count(), 2);
        for request in &*seen {
            assert!(request.starts_with("POST /") && !request.contains("hush"), "{request}");
        }
    }

    #[tokio::test]
    async fn a_name_whose_answer_changes_is_looked_at_again_for_each_connection() {
        let (inner, seen) = local("/".to_owned()).await;
        let public = SocketAddr::from(([93, 184, 216, 34], 0));
        let answers = [vec![public], vec![inner], vec![public, inner], vec![inner, public], vec![]];
        let answers = Arc::new(Mutex::new(VecDeque::from(answers)));
        let scripted = move |_| {
            let next = answers.lock().unwrap().pop_front().unwrap_or_default();
            std::future::ready(Ok(next))
        };
        let resolver = Arc::new(PublicOnly(scripted));
        // As a checker that looks only once would see it.
        assert!(resolver.resolve("agent.example".parse().unwrap()).await.is_ok());
        let mut outbound = Outbound::new(&[], false).unwrap();
        outbound.guarded = client().dns_resolver(resolver).build().unwrap();
        for _ in 0..4 {
            let url = format!("http://agent.example:{}/", inner.port());
            let error = outbound.post(&url, HeaderMap::new(), vec![]).await.unwrap_err();
            assert!(matches!(error, Unanswered::Refused(RefusedAddress::Private)), "{error:?}");
        }
        assert_eq!(seen.lock().unwrap().len(), 0);
    }
}
