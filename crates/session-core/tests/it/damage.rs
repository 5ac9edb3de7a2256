//! Databases that cannot be used are set aside, never deleted.

use std::fs;

use crate::support::{Home, Window, connect, demo};

fn set_aside(home: &Home, why: &str) -> usize {
    let prefix = format!("threadkeep.db.{why}-");
    fs::read_dir(home.path("engine"))
        .expect("the folder is there")
        .flatten()
        .filter(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            name.starts_with(&prefix) && !name.ends_with("-wal") && !name.ends_with("-shm")
        })
        .count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_no_database_is_set_aside_and_the_session_comes_back() {
    let home = Home::new();
    let (server, engine) = home.start().await;
    let (session, mut window) = Window::begin(&engine).await;
    window.ask(&engine, &session, "hello").await;
    let shown = window.items.clone();
    engine.close().await;

    fs::write(home.database(), b"this is no database, whatever its name says".repeat(100))
        .expect("it can be written");
    let engine = home.engine();
    let notice = engine.notices().into_iter().next().expect("the person is told");
    assert_eq!(notice.code, "database-damaged");
    assert!(notice.message.contains("threadkeep.db.damaged-"), "{}", notice.message);
    assert_eq!(set_aside(&home, "damaged"), 1);
    assert!(engine.sessions().is_empty());
    connect(&engine, &server.base_url());
    let mut window = Window::of(engine.feed());
    window.until("the session is listed", |w| w.sessions.iter().any(|s| s.id == session)).await;
    let mut window = Window::open(&engine, &session);
    window.until("it is back", |w| w.is_settled() && w.items == shown).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_only_existed_here_is_carried_over_when_it_can_be_read() {
    let home = Home::new();
    let engine = home.engine();
    let session = engine.create_session(demo()).await.expect("it is saved");
    let entry = engine.send_message(&session, "not sent yet").await.expect("it is saved");
    engine.save_draft(&session, "half a thought").await.expect("it is saved");
    engine.close().await;
    // Seen to be damaged while it was in use.
    fs::write(home.path("engine").join("threadkeep.db.is-damaged"), b"").expect("it is written");
    let engine = home.engine();
    assert_eq!(set_aside(&home, "damaged"), 1);
    let window = Window::opened(&engine, &session).await;
    assert_eq!(window.items[0].id, entry, "it is known from its entries");
    assert_eq!(window.draft.as_deref(), Some("half a thought"));
    drop(window);
    engine.close().await;
    home.engine();
    assert_eq!(set_aside(&home, "damaged"), 1, "once is enough");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_of_a_newer_version_is_kept_for_it() {
    let home = Home::new();
    home.engine().close().await;
    let connection = rusqlite::Connection::open(home.database()).expect("it is a database");
    connection.pragma_update(None, "user_version", 999).expect("it can be written");
    drop(connection);
    let engine = home.engine();
    assert_eq!(engine.notices()[0].code, "database-newer");
    assert_eq!(set_aside(&home, "newer"), 1);
    engine.create_session(demo()).await.expect("the new one works");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_truncated_database_is_set_aside() {
    let home = Home::new();
    let engine = home.engine();
    for _ in 0..20 {
        let session = engine.create_session(demo()).await.expect("it is saved");
        engine.send_message(&session, &"text ".repeat(500)).await.expect("it is saved");
    }
    engine.close().await;
    let connection = rusqlite::Connection::open(home.database()).expect("it is a database");
    connection.pragma_update(None, "wal_checkpoint", "TRUNCATE").expect("the WAL is moved");
    drop(connection);
    let bytes = fs::read(home.database()).expect("it can be read");
    fs::write(home.database(), &bytes[..bytes.len() / 3]).expect("it can be written");
    let engine = home.engine();
    assert_eq!(engine.notices()[0].code, "database-damaged");
    assert_eq!(set_aside(&home, "damaged"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_engines_do_not_share_a_folder() {
    let home = Home::new();
    let engine = home.engine();
    let config = session_core::EngineConfig {
        data_dir: home.path("engine"),
        actor: session_core::Actor { id: "b".to_owned(), name: "B".to_owned() },
        device_id: "other".to_owned(),
        inherit: session_core::Inherit::default(),
    };
    let error = tokio::task::spawn_blocking(|| session_core::Engine::open(config).err())
        .await
        .expect("it does not panic")
        .expect("it is refused");
    assert_eq!(error.code(), "in-use");
    drop(engine);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_session_is_kept_aside_and_read_again_while_the_others_go_on() {
    for broken in [
        "UPDATE rows SET json = x'00ff' WHERE collection = 'meta'",
        "INSERT INTO rows (session, collection, key, json) SELECT n, 'calls', 'x', x'00ff' FROM sessions WHERE id = ?1",
    ] {
        let home = Home::new();
        let (server, engine) = home.start().await;
        let (session, mut window) = Window::begin(&engine).await;
        window.ask(&engine, &session, "hello").await;
        let shown = window.items.clone();
        engine.save_draft(&session, "half a thought").await.expect("it is saved");
        engine.close().await;
        let rows = || {
            let file = rusqlite::Connection::open(home.database()).expect("it is a database");
            let count = |sql| {
                file.query_row(sql, [], |row| row.get::<_, i64>(0)).expect("it can be counted")
            };
            (count("SELECT count(*) FROM messages"), count("SELECT count(*) FROM sessions"))
        };
        let (kept, _) = rows();
        let file = rusqlite::Connection::open(home.database()).expect("it is a database");
        let parameters = if broken.contains("?1") { vec![session.clone()] } else { vec![] };
        file.execute(broken, rusqlite::params_from_iter(parameters)).expect("it can be broken");
        drop(file);

        let engine = home.engine();
        let mut window = Window::open(&engine, &session);
        engine.create_session(demo()).await.expect("the app goes on");
        connect(&engine, &server.base_url());
        window
            .until("the session from the stream", |w| {
                w.meta.as_ref().is_some_and(|meta| meta.notice.is_some()) && w.items == shown
            })
            .await;
        assert!(window.meta().notice.as_ref().is_some_and(|notice| notice.contains("kept aside")));
        let again = Window::opened(&engine, &session).await;
        assert_eq!(again.draft.as_deref(), Some("half a thought"));
        drop(again);
        assert_eq!(engine.sessions().len(), 2, "what was set aside is not listed");
        engine.close().await;
        assert_eq!(rows(), (2 * kept, 3), "the broken rows are kept");
        let engine = home.engine();
        assert_eq!(engine.sessions().len(), 2);
        engine.delete_session(&session).await.expect("it is saved");
        engine.close().await;
        assert_eq!(rows().0, 0, "what was set aside goes with its session");
    }
}
