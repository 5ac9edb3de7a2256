//! Words of agents of this computer and of their tools beside AG-UI: `CUSTOM` events named `acp.…` and `tool.…`, and
//! the options of a request for approval. Names that nobody knows say nothing.

use serde_json::{Map, Value};

use super::super::step::Step;
use crate::authority::{TOOL_INFO, TOOL_PROGRESS};
use crate::row::{ApprovalOption, FilePart, Part};

/// Options of one request that are kept.
const OPTIONS: usize = 64;

/// The options of an `approval-requested` event; `None` where it has none.
pub(super) fn options(payload: &Map<String, Value>) -> Option<Vec<ApprovalOption>> {
    let all = payload.get("options")?.as_array()?;
    let read = all.iter().filter_map(|option| {
        let text = |name: &str| option.get(name).and_then(Value::as_str);
        let option_id = text("optionId").filter(|id| !id.is_empty())?;
        Some(ApprovalOption {
            option_id: option_id.to_owned(),
            name: text("name").unwrap_or(option_id).to_owned(),
            kind: text("kind").unwrap_or_default().to_owned(),
        })
    });
    Some(read.take(OPTIONS).collect())
}

/// Folds a `CUSTOM` event; unknown ones have no effect.
pub(super) fn custom(name: &str, mut payload: Map<String, Value>, step: &mut Step<'_>) {
    let text = |payload: &Map<String, Value>, name: &str| {
        payload.get(name).and_then(Value::as_str).map(str::to_owned)
    };
    match name {
        "acp.tool" | "acp.terminal" | TOOL_INFO | TOOL_PROGRESS => {
            let Some(call_id) = text(&payload, "toolCallId") else { return };
            step.goes_on();
            if name != "acp.terminal" {
                payload.shift_remove("toolCallId");
                step.tool_details(&call_id, payload);
            } else {
                let is = |name: &str| payload.get(name) == Some(&Value::Bool(true));
                let append = text(&payload, "append").unwrap_or_default();
                step.tool_output(&call_id, &append, is("anew"), is("truncated"));
            }
        }
        // Each plan and each compaction is one card, which later ones replace.
        "acp.plan" | "acp.compaction" | "acp.usage" => {
            step.goes_on();
            let id = text(&payload, "planId").or_else(|| text(&payload, "compactionId"));
            step.card(name, id.as_deref().unwrap_or("main"), payload);
        }
        "acp.notice" => {
            step.goes_on();
            step.note(name, payload);
        }
        "acp.file" => {
            step.reopen();
            match text(&payload, "url") {
                Some(url) => step.push_part(Part::File(FilePart {
                    url,
                    media_type: text(&payload, "mimeType"),
                    filename: text(&payload, "name"),
                    reasoning: false,
                })),
                None => step.note(name, payload),
            }
        }
        _ => {}
    }
}
