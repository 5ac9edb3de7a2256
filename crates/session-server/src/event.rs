//! The items that the server appends: STATE-PROTOCOL §4 change events of types `chunk`, `presence` and `agent`.

use bytes::Bytes;
use serde::Serialize;
use serde_json::Value;
pub(crate) use session_protocol::Role;
use session_protocol::RunMark;

/// One row of a message, before it has its sequence number.
#[derive(Clone, Copy)]
pub(crate) struct Row<'a> {
    pub(crate) message_id: &'a str,
    pub(crate) actor_id: &'a str,
    pub(crate) role: Role,
    /// JSON text of the inner chunk, as the agent sent it.
    pub(crate) chunk: &'a str,
    pub(crate) txid: Option<&'a str>,
    /// The run that begins with it.
    pub(crate) run: Option<&'a RunMark>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ChunkValue<'a> {
    message_id: &'a str,
    actor_id: &'a str,
    role: Role,
    chunk: &'a str,
    seq: u64,
    created_at: &'a str,
}

#[derive(Serialize)]
struct Headers<'a> {
    operation: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    txid: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    run: Option<&'a RunMark>,
}

#[derive(Serialize)]
struct Change<'a, T> {
    r#type: &'static str,
    key: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<T>,
    headers: Headers<'a>,
}

fn encode<T: Serialize>(change: &Change<'_, T>) -> Bytes {
    Bytes::from(serde_json::to_vec(change).expect("maps with string keys always serialise"))
}

/// A `chunk` row: key `<messageId>:<seq>`.
pub(crate) fn chunk(row: Row<'_>, seq: u64, created_at: &str) -> Bytes {
    encode(&Change {
        r#type: "chunk",
        key: &format!("{}:{seq}", row.message_id),
        value: Some(ChunkValue {
            message_id: row.message_id,
            actor_id: row.actor_id,
            role: row.role,
            chunk: row.chunk,
            seq,
            created_at,
        }),
        headers: Headers { operation: "insert", txid: row.txid, run: row.run },
    })
}

/// An `upsert` of an agent or a presence row. Always the complete row: readers merge, older ones replace.
pub(crate) fn upsert(kind: &'static str, key: &str, value: &Value) -> Bytes {
    granted(kind, key, value, None)
}

/// An `upsert` that grants a wish.
pub(crate) fn granted(kind: &'static str, key: &str, value: &Value, txid: Option<&str>) -> Bytes {
    encode(&Change {
        r#type: kind,
        key,
        value: Some(value),
        headers: Headers { operation: "upsert", txid, run: None },
    })
}

/// An event that does nothing but carry a transaction id: what was asked for is there already, by an earlier request,
/// and whoever asks waits for the id in the stream. Readers ignore the type and take the id; `about` says which wish it
/// is.
pub(crate) fn ack(txid: &str, about: &str) -> Bytes {
    encode(&Change {
        r#type: "ack",
        key: txid,
        value: Some(serde_json::json!({"about": about})),
        headers: Headers { operation: "upsert", txid: Some(txid), run: None },
    })
}

/// A `delete` of any row.
pub(crate) fn delete(kind: &'static str, key: &str) -> Bytes {
    encode::<()>(&Change {
        r#type: kind,
        key,
        value: None,
        headers: Headers { operation: "delete", txid: None, run: None },
    })
}

/// Now, as the wire has it.
pub(crate) fn now() -> String {
    at(jiff::Timestamp::now())
}

/// A time as the wire has it: RFC 3339 in UTC with milliseconds.
pub(crate) fn at(time: jiff::Timestamp) -> String {
    format!("{time:.3}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_a_chunk_row_as_upstream_does() {
        let row = Row {
            message_id: "a1",
            actor_id: "kermit",
            role: Role::Assistant,
            chunk: r#"{"type":"done"}"#,
            txid: None,
            run: None,
        };
        let text = chunk(row, 3, "2026-03-01T10:00:03.000Z");
        assert_eq!(
            text,
            r#"{"type":"chunk","key":"a1:3","value":{"messageId":"a1","actorId":"kermit","role":"assistant","chunk":"{\"type\":\"done\"}","seq":3,"createdAt":"2026-03-01T10:00:03.000Z"},"headers":{"operation":"insert"}}"#
        );
    }

    #[test]
    fn a_delete_has_no_value() {
        assert_eq!(
            delete("agent", "k"),
            r#"{"type":"agent","key":"k","headers":{"operation":"delete"}}"#
        );
    }

    #[test]
    fn time_has_milliseconds_and_a_zone() {
        let text = now();
        assert_eq!(text.len(), 24, "{text}");
        assert!(text.ends_with('Z'));
    }
}
