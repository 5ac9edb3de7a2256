//! GitHub Copilot's command line: a log of events for each session.

use serde_json::Value;

use crate::Format;
use crate::json::{self, Lines, list, named, text};
use crate::model::Call;
use crate::sink::Stop;
use crate::source::{self, Input};
use crate::text as words;
use crate::time;
use crate::turns::{COMPACTION, Head, Of, Outcome, Turns};

/// Reads the sessions.
pub(crate) fn read(input: &mut Input<'_>) -> Result<(), Stop> {
    for entry in input.entries.clone() {
        input.sink.file(&entry.path, entry.size);
        let Ok(from) = input.tree.read(&entry) else {
            input.problem(&*entry.path, "it cannot be unpacked");
            continue;
        };
        let mut turns = Turns::default();
        let (mut id, mut folder, mut created, mut title, mut model) =
            (None, None, None, None, None);
        for line in Lines::new(from) {
            let row = line.bytes.and_then(|bytes| json::parse(&bytes)).filter(Value::is_object);
            let Some(row) = row else {
                input.problem(format!("{} line {}", entry.path, line.number), "it is not JSON");
                continue;
            };
            let data = row.get("data").unwrap_or(&Value::Null);
            let head = Head::new(named(&row, "id"), time::at(&row, "timestamp"));
            match text(&row, "type") {
                "session.start" => {
                    id = named(data, "sessionId").map(str::to_owned);
                    created = time::at(data, "startTime");
                    folder =
                        data.pointer("/context/cwd").and_then(Value::as_str).map(str::to_owned);
                }
                "session.model_change" => model = named(data, "newModel").map(str::to_owned),
                "session.title_changed" => title = named(data, "title").map(str::to_owned),
                "session.compaction_complete" => turns.mark(COMPACTION, data.clone()),
                "user.message" => {
                    turns.user(head);
                    turns.text(text(data, "content"));
                }
                "assistant.reasoning" => {
                    turns.assistant(head);
                    turns.reasoning(text(data, "content"));
                }
                "assistant.message" => {
                    turns.assistant(head.by(model.as_deref()));
                    turns.reasoning(text(data, "reasoningText"));
                    turns.text(text(data, "content"));
                    for call in list(data, "toolRequests") {
                        self::call(call, &mut turns);
                    }
                }
                "tool.execution_start" if !turns.has_call(text(data, "toolCallId")) => {
                    turns.goes_on(head);
                    call(data, &mut turns);
                }
                "tool.execution_complete" => {
                    let failed = data.get("success") == Some(&Value::Bool(false));
                    let result =
                        data.get("result").or_else(|| data.get("error")).unwrap_or(&Value::Null);
                    let denied =
                        data.pointer("/error/code").and_then(Value::as_str) == Some("denied");
                    let outcome = if denied {
                        Outcome::denied(words::error_of(result))
                    } else {
                        Outcome::of(result, failed)
                    };
                    turns.result(&Of::Id(text(data, "toolCallId")), outcome);
                }
                _ => {}
            }
        }
        let above = entry.folder().rsplit('/').next().filter(|folder| !folder.is_empty());
        let id = id.as_deref().or(above);
        let session = source::session(Format::CopilotCli, id, &[&entry.path], turns.finish())
            .titled(title.as_deref())
            .dated(created, None)
            .working_in(folder.as_deref());
        input.session(Some(session))?;
    }
    Ok(())
}

fn call(data: &Value, turns: &mut Turns) {
    turns.call(Call {
        id: named(data, "toolCallId").map(str::to_owned),
        name: named(data, "name").unwrap_or_else(|| text(data, "toolName")).to_owned(),
        input: words::input_of(data.get("arguments")),
        ..Call::default()
    });
}
