//! Without a server, or with one that refuses: everything local works, and the words are clear.

use std::sync::Arc;

use session_core::{ConnectionState, DeliveryState, Endpoint, Secret, THIS_COMPUTER};
use session_server::Auth;

use crate::support::{Home, Window, connect, demo};

#[tokio::test(flavor = "multi_thread")]
async fn everything_can_be_written_and_read_without_a_server() {
    let home = Home::new();
    let engine = home.engine();
    let session = engine.create_session(demo()).await.expect("it is saved");
    let entry = engine.send_message(&session, "for later").await.expect("it is saved");
    let view = Window::opened(&engine, &session).await;
    assert_eq!(view.items.len(), 1);
    assert_eq!(view.items[0].id, entry);
    let delivery = view.items[0].meta.delivery.clone().expect("it is not delivered");
    assert_eq!(delivery.state, DeliveryState::Queued);
    assert_eq!(view.meta().connection.state, ConnectionState::Offline);
    assert_eq!(view.meta().queued, 2, "the session's creation and the message");
    drop((view, engine));

    let engine = home.engine();
    let view = Window::opened(&engine, &session).await;
    assert_eq!(view.items[0].id, entry, "durable before it returned");
    assert_eq!(engine.sessions()[0].title, "for later");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_written_offline_is_sent_when_there_is_a_server() {
    let home = Home::new();
    let engine = home.engine();
    let session = engine.create_session(demo()).await.expect("it is saved");
    for text in ["ping", "hello", "thanks"] {
        engine.send_message(&session, text).await.expect("it is saved");
    }
    let mut window = Window::open(&engine, &session);
    window.until("three local items", |w| w.items.len() == 3).await;
    let server = home.server().await;
    connect(&engine, &server.base_url());
    window.until("three answers", |w| w.is_settled() && w.answers() == 3).await;
    let mine: Vec<String> = window
        .items
        .iter()
        .filter(|item| item.meta.actor_id.as_deref() == Some("ana"))
        .map(crate::support::text)
        .collect();
    assert_eq!(mine, ["ping", "hello", "thanks"], "in the order they were written");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_not_there_is_named_and_tried_again() {
    let home = Home::new();
    let server = home.server().await;
    let addr = server.addr;
    server.shutdown().await;
    let engine = home.engine();
    let session = engine.create_session(demo()).await.expect("it is saved");
    engine.send_message(&session, "hello").await.expect("it is saved");
    connect(&engine, &format!("http://{addr}/").parse().expect("it is a URL"));
    let mut window = Window::open(&engine, &session);
    window
        .until("the connection is tried again", |w| {
            w.meta.as_ref().is_some_and(|m| m.connection.state == ConnectionState::Retrying)
                && w.here().code.as_deref() == Some("server-unreachable")
        })
        .await;
    assert!(window.meta().connection.message.is_some());

    let server = home.server_at(addr).await;
    engine.nudge();
    window.until("the answer", |w| w.is_settled() && w.answers() == 1).await;
    assert_eq!(server.addr, addr);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_token_loses_nothing_and_a_good_one_goes_on() {
    let home = Home::new();
    let server = home
        .server_with(|config| {
            config.auth = Auth::Token(session_server::Secret::new("the right token"));
        })
        .await;
    let engine = home.engine();
    let session = engine.create_session(demo()).await.expect("it is saved");
    let entry = engine.send_message(&session, "hello").await.expect("it is saved");
    let with = |token: &'static str| Endpoint {
        base_url: server.base_url(),
        token: Arc::new(move || Some(Secret::new(token))),
    };
    engine.connect(THIS_COMPUTER, Some(with("a wrong token"))).expect("TLS works here");
    let mut window = Window::open(&engine, &session);
    window
        .until("it is refused", |w| {
            w.meta.as_ref().is_some_and(|m| m.connection.state == ConnectionState::Refused)
                && w.here().code.as_deref() == Some("server-refused")
        })
        .await;
    assert_eq!(window.items[0].id, entry);
    let state = window.items[0].meta.delivery.as_ref().map(|delivery| delivery.state);
    assert_eq!(state, Some(DeliveryState::Queued), "refused to be known is not refused for good");

    engine.connect(THIS_COMPUTER, Some(with("the right token"))).expect("TLS works here");
    window.until("the answer", |w| w.is_settled() && w.answers() == 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_at_the_servers_address_is_named() {
    let home = Home::new();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let addr = listener.local_addr().expect("it is bound");
    tokio::spawn(async move {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        while let Ok((mut socket, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut buffer = [0; 4096];
                while socket.read(&mut buffer).await.is_ok_and(|n| n > 0) {
                    let page = "<html>A router's login page</html>";
                    let head = format!(
                        "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: {}\r\n\r\n",
                        page.len()
                    );
                    if socket.write_all(format!("{head}{page}").as_bytes()).await.is_err() {
                        break;
                    }
                }
            });
        }
    });
    let engine = home.engine();
    connect(&engine, &format!("http://{addr}/").parse().expect("it is a URL"));
    let mut window = Window::of(engine.feed());
    window
        .until("the stranger is named", |w| {
            w.here().code.as_deref() == Some("not-a-session-server")
        })
        .await;
}
