//! Data events and the control event after them.
//!
//! Data means nothing until a control event says where it ends (PROTOCOL.md §5.8). Items are held
//! here until then; when the connection ends first they are dropped, and the server sends them
//! again.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Deserialize;

use crate::body::{BodyError, Collector};
use crate::offset::Offset;
use crate::sse::{SseError, SseEvent};

/// The content of a control event.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Control {
    #[serde(rename = "streamNextOffset")]
    pub(crate) next_offset: Offset,
    #[serde(rename = "streamCursor", default)]
    pub(crate) cursor: Option<String>,
    #[serde(default)]
    pub(crate) up_to_date: bool,
    #[serde(rename = "streamClosed", default)]
    pub(crate) closed: bool,
}

/// A control event, and all items before it.
pub(crate) struct Pair {
    /// `None` if the place that the control event gives is inside an item.
    pub(crate) items: Option<Vec<Bytes>>,
    pub(crate) control: Control,
}

impl std::fmt::Debug for Pair {
    // L11: items are the user's.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let items = self.items.as_ref().map(Vec::len);
        f.debug_struct("Pair").field("items", &items).field("control", &self.control).finish()
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum PairingError {
    Sse(SseError),
    Body(BodyError),
}

/// Collects data until its control event comes.
pub(crate) struct Pairing {
    collector: Collector,
    base64: bool,
    max_bytes: usize,
    bytes: usize,
}

impl Pairing {
    pub(crate) fn new(collector: Collector, base64: bool, max_bytes: usize) -> Self {
        Self { collector, base64, max_bytes, bytes: 0 }
    }

    pub(crate) fn event(&mut self, event: &SseEvent) -> Result<Option<Pair>, PairingError> {
        match event.name.as_str() {
            "data" => {
                self.data(&event.data)?;
                Ok(None)
            }
            "control" => {
                let control = serde_json::from_slice::<Control>(&event.data)
                    .ok()
                    .filter(|control| matches!(control.next_offset, Offset::At(_)))
                    .ok_or(PairingError::Sse(SseError::Control))?;
                let at_end = control.up_to_date || control.closed;
                let items = self.collector.commit(at_end).map_err(PairingError::Body)?;
                if items.is_some() {
                    self.bytes = 0;
                }
                Ok(Some(Pair { items, control }))
            }
            // Events of later versions.
            _ => Ok(None),
        }
    }

    fn data(&mut self, data: &Bytes) -> Result<(), PairingError> {
        self.bytes += data.len();
        if self.bytes > self.max_bytes {
            return Err(PairingError::Sse(SseError::EventTooLong { limit: self.max_bytes }));
        }
        let decoded;
        let body = if self.base64 {
            decoded = decode_base64(data)?;
            &decoded
        } else {
            data
        };
        self.collector.push(body).map_err(PairingError::Body)
    }
}

fn decode_base64(data: &Bytes) -> Result<Bytes, PairingError> {
    // Lines of one event are joined with LF, which base64 does not know.
    let text: Vec<u8> =
        data.iter().copied().filter(|byte| !matches!(byte, b'\r' | b'\n')).collect();
    STANDARD.decode(text).map(Bytes::from).map_err(|_| PairingError::Body(BodyError::Base64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::Framing;

    fn pairing(framing: Framing, base64: bool, max_bytes: usize) -> Pairing {
        Pairing::new(Collector::new(framing, 1000, 1000), base64, max_bytes)
    }

    fn event(name: &str, data: &str) -> SseEvent {
        SseEvent { name: name.to_owned(), data: Bytes::from(data.to_owned()) }
    }

    #[test]
    fn data_counts_only_with_its_control_event() {
        let mut pairing = pairing(Framing::Json, false, 1000);
        assert!(pairing.event(&event("data", "[1,\n2]")).unwrap().is_none());
        assert!(pairing.event(&event("data", "[3]")).unwrap().is_none());
        assert!(pairing.event(&event("later-version", "{")).unwrap().is_none());
        let control = r#"{"streamNextOffset":"7","streamCursor":"c","upToDate":true,"more":1}"#;
        let pair = pairing.event(&event("control", control)).unwrap().unwrap();
        assert_eq!(pair.items.unwrap(), [&b"1"[..], b"2", b"3"]);
        assert_eq!(pair.control.next_offset, Offset::from("7"));
        assert_eq!(pair.control.cursor.as_deref(), Some("c"));
        assert!(pair.control.up_to_date && !pair.control.closed);
        let end =
            pairing.event(&event("control", r#"{"streamNextOffset":"7","streamClosed":true}"#));
        let end = end.unwrap().unwrap();
        assert!(end.items.unwrap().is_empty() && end.control.closed && !end.control.up_to_date);
    }

    #[test]
    fn a_control_event_that_gives_no_place_is_an_error() {
        for data in
            ["", "{bad", "{}", "[]", r#"{"streamNextOffset":3}"#, r#"{"streamNextOffset":"-1"}"#]
        {
            let mut pairing = pairing(Framing::Bytes, false, 1000);
            let error = pairing.event(&event("control", data)).unwrap_err();
            assert_eq!(error, PairingError::Sse(SseError::Control), "{data}");
        }
    }

    #[test]
    fn decodes_base64_over_several_lines() {
        let mut pairing = pairing(Framing::Bytes, true, 1000);
        pairing.event(&event("data", "AAEC\n/w==")).unwrap();
        let pair =
            pairing.event(&event("control", r#"{"streamNextOffset":"1"}"#)).unwrap().unwrap();
        assert_eq!(pair.items.unwrap(), [&[0, 1, 2, 255][..]]);
        let error = pairing.event(&event("data", "AAE")).unwrap_err();
        assert_eq!(error, PairingError::Body(BodyError::Base64));
    }

    #[test]
    fn holds_no_more_than_its_limit() {
        let mut pairing = pairing(Framing::Bytes, false, 5);
        pairing.event(&event("data", "abc")).unwrap();
        let error = pairing.event(&event("data", "def")).unwrap_err();
        assert_eq!(error, PairingError::Sse(SseError::EventTooLong { limit: 5 }));
    }
}
