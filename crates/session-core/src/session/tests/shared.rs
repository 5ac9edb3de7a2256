//! State that an agent shares: read by itself, and still there when the session is opened again.

use serde_json::json;

use super::{Window, chunk, commit, crash, finish, folder, open, say, take_in};

#[tokio::test]
async fn what_an_agent_shares_is_there_and_told_of_also_after_a_crash() {
    let dir = folder();
    let add = json!([{"op": "add", "path": "/steps/-", "value": "book"}]);
    let log = [
        say(0, "Plan my trip"),
        chunk(
            1,
            0,
            "bot",
            "assistant",
            &json!({"type": "STATE_SNAPSHOT", "snapshot": {"steps": ["look"]}}),
        ),
        chunk(1, 1, "bot", "assistant", &json!({"type": "STATE_DELTA", "delta": add})),
        finish(1, 2),
    ];
    let mut session = open(dir.path()).await;
    let mut window = Window::new();
    window.show(&mut session, None);
    window.pull(&mut session);
    assert!(session.meta().shared.is_empty());
    assert_eq!(session.shared_state("bot"), None);

    take_in(&mut session, &log, 0, 2);
    let before = session.meta().shared.clone();
    assert_eq!(session.shared_state("bot"), Some(json!({"steps": ["look"]})));
    take_in(&mut session, &log, 2, 4);
    let after = session.meta().shared.clone();
    assert_eq!((before.len(), after.len()), (1, 1));
    assert_ne!(before, after, "a window sees that there is something else to read");
    commit(&mut session).await;
    crash(session);

    let session = open(dir.path()).await;
    assert_eq!(session.meta().shared, after);
    assert_eq!(session.shared_state("bot"), Some(json!({"steps": ["look", "book"]})));
    assert_eq!(session.shared_state("ana"), None, "a person shares none");
}
