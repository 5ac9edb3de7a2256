//! A way to the server on which each request meets the fate that a test has in mind for it.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use url::Url;

/// The fate of one request.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fate {
    Pass,
    /// The server never sees it, and this status is the answer.
    Refused(u16),
    /// The server never sees it, and the answer sends the client to this address.
    SentTo(SocketAddr),
    /// The server never sees it, and there is no answer.
    Lost,
    /// The server acts, and there is no answer.
    AnswerLost,
    /// The server acts, and this status is the answer.
    AnswerFalse(u16),
    /// The answer is cut after so many bytes.
    Cut(usize),
    /// The request takes its time, then passes.
    Late(Duration),
    /// The server acts, and the answer never comes.
    Held,
}

/// A request as far as its fate may depend on it.
pub(crate) struct Asked<'a> {
    pub(crate) method: &'a str,
    pub(crate) path: &'a str,
    /// The head of the request as it came.
    pub(crate) head: &'a str,
}

impl Asked<'_> {
    /// Whether the request reads a stream.
    pub(crate) fn is_stream(&self) -> bool {
        self.path.starts_with("/v1/stream/")
    }
}

type Decide = Box<dyn FnMut(Asked<'_>) -> Fate + Send>;

/// Stands between an engine and a server.
pub(crate) struct Way {
    addr: SocketAddr,
    decide: Arc<Mutex<Decide>>,
}

impl Way {
    pub(crate) async fn to(
        server: SocketAddr,
        decide: impl FnMut(Asked<'_>) -> Fate + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let addr = listener.local_addr().expect("it is bound");
        let decide: Arc<Mutex<Decide>> = Arc::new(Mutex::new(Box::new(decide)));
        let decides = Arc::clone(&decide);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(one_request(client, server, Arc::clone(&decides)));
            }
        });
        Self { addr, decide }
    }

    pub(crate) fn url(&self) -> Url {
        format!("http://{}/", self.addr).parse().expect("it is a URL")
    }

    /// From now on the fate is decided like this.
    pub(crate) fn decide(&self, decide: impl FnMut(Asked<'_>) -> Fate + Send + 'static) {
        *self.decide.lock().expect("no decision panics") = Box::new(decide);
    }

    pub(crate) fn calm(&self) {
        self.decide(|_| Fate::Pass);
    }
}

/// One request on each connection. `None`: a connection broke, which is nothing special here.
async fn one_request(
    mut client: TcpStream,
    server: SocketAddr,
    decide: Arc<Mutex<Decide>>,
) -> Option<()> {
    let mut request = Vec::new();
    let head = loop {
        if let Some(at) = request.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            break at + 4;
        }
        if client.read_buf(&mut request).await.ok()? == 0 {
            return None;
        }
    };
    let text = String::from_utf8_lossy(&request[..head]).into_owned();
    let mut words = text.split(' ');
    let (method, path) = (words.next()?, words.next()?);
    let fate = (decide.lock().expect("no decision panics"))(Asked { method, path, head: &text });
    match fate {
        Fate::Refused(status) => {
            take_body(&mut client, &mut request, head, &text).await?;
            return answer(&mut client, status).await;
        }
        Fate::SentTo(addr) => {
            take_body(&mut client, &mut request, head, &text).await?;
            let head = format!(
                "HTTP/1.1 307 Elsewhere\r\nlocation: http://{addr}{path}\r\ncontent-length: 0\r\n\
                 connection: close\r\n\r\n"
            );
            return client.write_all(head.as_bytes()).await.ok();
        }
        Fate::Lost => return None,
        Fate::Late(wait) => tokio::time::sleep(wait).await,
        _ => {}
    }
    take_body(&mut client, &mut request, head, &text).await?;
    let mut server = TcpStream::connect(server).await.ok()?;
    // After the request line: the connection is for this request alone.
    let line = text.find("\r\n")? + 2;
    server.write_all(&request[..line]).await.ok()?;
    server.write_all(b"connection: close\r\n").await.ok()?;
    server.write_all(&request[line..]).await.ok()?;
    match fate {
        Fate::AnswerLost => drain(&mut server).await,
        Fate::AnswerFalse(status) => {
            drain(&mut server).await?;
            answer(&mut client, status).await
        }
        Fate::Held => {
            drain(&mut server).await?;
            let mut rest = Vec::new();
            // Until the client gives up.
            client.read_to_end(&mut rest).await.ok().map(drop)
        }
        Fate::Cut(share) => pass_on(&mut server, &mut client, share).await,
        _ => pass_on(&mut server, &mut client, usize::MAX).await,
    }
}

async fn take_body(
    client: &mut TcpStream,
    request: &mut Vec<u8>,
    head: usize,
    text: &str,
) -> Option<()> {
    let length: usize = text
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .map_or(0, |(_, value)| value.trim().parse().expect("it is a length"));
    while request.len() < head + length {
        if client.read_buf(request).await.ok()? == 0 {
            return None;
        }
    }
    Some(())
}

async fn answer(client: &mut TcpStream, status: u16) -> Option<()> {
    let head = format!(
        "HTTP/1.1 {status} As the test wants\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    );
    client.write_all(head.as_bytes()).await.ok()
}

async fn drain(server: &mut TcpStream) -> Option<()> {
    let mut rest = Vec::new();
    server.read_to_end(&mut rest).await.ok().map(drop)
}

async fn pass_on(server: &mut TcpStream, client: &mut TcpStream, mut share: usize) -> Option<()> {
    let (mut bytes, mut more) = (vec![0; 4096], [0; 16]);
    loop {
        let n = tokio::select! {
            read = server.read(&mut bytes) => read.ok()?,
            // The client has nothing more to say: it went away.
            _ = client.read(&mut more) => return None,
        };
        let passed = n.min(share);
        client.write_all(&bytes[..passed]).await.ok()?;
        share -= passed;
        if n == 0 || share == 0 {
            return Some(());
        }
    }
}
