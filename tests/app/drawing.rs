//! Measures what a window's frames cost while it draws long answers for the first time: `cargo
//! xtask bench window`.

use crate::support::app::{App, Computer};
use crate::support::server::Server;
use serde_json::json;
use std::time::{Duration, Instant};

const KB: usize = 1_000;
/// Bytes of an answer that one chunk of the stream carries.
const CHUNK: usize = 100 * KB;
/// How long one answer may take before the bench gives up.
const LONGEST: Duration = Duration::from_secs(180);
/// The longest time between two frames that is wanted, ms.
const FRAME: f64 = 50.0;
/// How much longer 1 MB may take than 100 KB.
const GROWTH: f64 = 12.0;

/// What makes the `n`-th piece of an answer.
type Piece = fn(usize) -> String;

/// The kinds of answers.
const KINDS: [(&str, Piece); 6] = [
    ("prose", |n| {
        format!(
            "Paragraph {n} says **what is new**, with `some code`, a [link](https://example.com/{n}) and \
             a few words more, so that it is as long as people's paragraphs are. It goes on for a line.\n\n"
        )
    }),
    ("one paragraph", |n| {
        format!("Sentence {n} is one of very many that no line ends, all in a row. ")
    }),
    ("list", |n| format!("- Item {n} has *some* words and `code`, and ends here.\n")),
    ("table", |n| format!("| {n} | a cell with `code` | and another one with some words |\n")),
    ("code", |n| format!("    const value{n} = compute({n}, 'text'); // what it is for\n")),
    ("mixed", |n| {
        format!(
            "## Step {n}\n\nDo this first:\n\n1. Open `file{n}.ts`\n2. Change the line\n\n```ts\nexport function \
             step{n}(a: number): string {{\n  return `${{a}} of {n}`;\n}}\n```\n\n> **Note** that this matters.\n\n"
        )
    }),
];

fn answer(kind: &str, piece: Piece, bytes: usize) -> String {
    let mut text = String::with_capacity(bytes + KB);
    match kind {
        "table" => text.push_str("| n | one | two |\n| - | --- | --- |\n"),
        "code" => text.push_str("```ts\n"),
        _ => {}
    }
    let mut n = 0;
    while text.len() < bytes {
        n += 1;
        text.push_str(&piece(n));
    }
    text
}

#[tokio::test]
#[ignore = "measures for a minute, on a quiet machine: cargo xtask bench window"]
async fn bench_frames_while_long_answers_are_drawn() {
    let computer = Computer::new();
    let server = Server::start(&computer.folder("server"), &[]);
    let mut sessions = Vec::new();
    server.put("short").await;
    write(&server, "short", "A few words.").await;
    for (kind, piece) in KINDS {
        for bytes in [100 * KB, 1_000 * KB] {
            let id = format!("{}-{}", kind.replace(' ', "-"), bytes / KB);
            server.put(&id).await;
            write(&server, &id, &answer(kind, piece, bytes)).await;
            sessions.push((kind, bytes, id));
        }
    }
    computer.set(&json!({ "serverUrl": server.url() }));
    let app = computer.start().await;
    app.page()
        .wait_for(
            "every session",
            &format!(
                "return document.querySelectorAll('[data-testid=session-row]').length >= {}",
                sessions.len() + 1
            ),
        )
        .await;

    println!(
        "\nlong answers, drawn for the first time (want frames of at most {FRAME} ms, 1 MB at most {GROWTH} x 100 KB)"
    );
    // The first session that a window opens costs it something of its own.
    let first = draw(&app, "short").await;
    println!("{:<26} longest frame {:>4.0} ms", "the first session, short", first.worst);
    let mut before = 0.0;
    for (kind, bytes, id) in sessions {
        let Drawn { whole, worst, slow, frames } = draw(&app, &id).await;
        let growth = whole / before;
        let ok = worst <= FRAME && (bytes == 100 * KB || growth <= GROWTH);
        println!(
            "{:<26} drawn in {whole:>6.0} ms{:<10} longest frame {worst:>4.0} ms, {slow} of {frames} over {FRAME} ms  {}",
            format!("{kind}, {} KB", bytes / KB),
            if bytes == 100 * KB { String::new() } else { format!(", {growth:.1} x") },
            if ok { "yes" } else { "NO" },
        );
        before = whole;
    }
}

/// An agent's answer, a chunk after the other.
async fn write(server: &Server, session: &str, text: &str) {
    let say = async |chunk| server.chunk(session, "answer", chunk).await;
    say(json!({ "type": "TEXT_MESSAGE_START", "messageId": "answer" })).await;
    for part in text.as_bytes().chunks(CHUNK) {
        let delta = std::str::from_utf8(part).expect("the answers are ASCII");
        say(json!({ "type": "TEXT_MESSAGE_CONTENT", "messageId": "answer", "delta": delta })).await;
    }
    say(json!({ "type": "TEXT_MESSAGE_END", "messageId": "answer" })).await;
    say(json!({ "type": "RUN_FINISHED" })).await;
}

struct Drawn {
    /// From the click to the last change of the log, ms.
    whole: f64,
    /// The longest time between two frames, ms.
    worst: f64,
    /// Frames that took longer than wanted.
    slow: u64,
    frames: u64,
}

async fn draw(app: &App<'_>, id: &str) -> Drawn {
    // What is shown before goes first: to take it away takes its time too.
    app.click("new-session").await;
    app.page().wait_for("nothing is shown", NOTHING_SHOWN).await;
    app.page().execute(&OPEN.replace("{id}", id)).await;
    let asked = Instant::now();
    let drawn = loop {
        let drawn = app.page().execute(DRAWN).await;
        if !drawn.is_null() {
            break drawn;
        }
        assert!(asked.elapsed() < LONGEST, "{id} is not drawn");
        tokio::time::sleep(Duration::from_millis(250)).await;
    };
    let number = |name: &str| drawn[name].as_f64().unwrap();
    Drawn {
        whole: number("whole"),
        worst: number("worst"),
        slow: drawn["slow"].as_u64().unwrap(),
        frames: drawn["frames"].as_u64().unwrap(),
    }
}

const NOTHING_SHOWN: &str = "return !document.querySelector('[data-testid=message]')";

/// Opens a session and notes every frame, and when the log changed last.
const OPEN: &str = "\
    window.changed?.disconnect();\
    const seen = window.seen = { frames: [performance.now()], last: 0, going: true };\
    const frame = () => { seen.frames.push(performance.now()); if (seen.going) requestAnimationFrame(frame); };\
    requestAnimationFrame(frame);\
    window.changed = new MutationObserver(() => { seen.last = performance.now(); });\
    window.changed.observe(document.querySelector('main') ?? document.body, { childList: true, subtree: true, characterData: true });\
    [...document.querySelectorAll('[data-testid=session-row]')].find(row => row.dataset.sessionId.endsWith('/{id}')).click();";

/// What was noted, once nothing is to be drawn and nothing has changed for a while.
const DRAWN: &str = "\
    const { frames, last } = window.seen;\
    if (last === 0 || document.querySelector('[data-drawing]') || performance.now() - last < 1500) return null;\
    window.seen.going = false;\
    const gaps = frames.slice(1).map((at, n) => [at, at - frames[n]]).filter(([at]) => at < last + 300).map(([, gap]) => gap);\
    return { whole: last - frames[0], worst: Math.max(...gaps), slow: gaps.filter(gap => gap > 50).length, frames: gaps.length };";
