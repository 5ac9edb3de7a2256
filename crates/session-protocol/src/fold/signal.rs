//! Signals: what is said in one message about another, or about the session.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::call::{Chosen, Outcome};
use super::encoding::present;

/// A signal: something said in one message about another.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "k", rename_all = "lowercase")]
pub(crate) enum SignalKind {
    /// The result of a call.
    Result {
        call: String,
        #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
        output: Option<Value>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<String>,
    },
    /// The answer to an approval.
    Answer {
        approval: String,
        approved: bool,
        #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
        payload: Option<Value>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        chosen: Option<Box<Chosen>>,
    },
    /// Settings of the session.
    Config { settings: Map<String, Value> },
}

/// A signal with where and who.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Signal {
    #[serde(rename = "p")]
    pub(crate) pos: u64,
    #[serde(rename = "n")]
    pub(crate) nth: u32,
    #[serde(rename = "m")]
    pub(crate) message: String,
    #[serde(rename = "b", default, skip_serializing_if = "Option::is_none")]
    pub(crate) by: Option<String>,
    #[serde(rename = "t", default, skip_serializing_if = "Option::is_none")]
    pub(crate) at: Option<String>,
    #[serde(flatten)]
    pub(crate) kind: SignalKind,
}

impl Signal {
    /// The outcome a result signal stands for.
    pub(crate) fn outcome(&self) -> Option<Outcome> {
        match &self.kind {
            SignalKind::Result { output, error, .. } => {
                Some(Outcome::new(self.pos, output.clone(), error.clone()))
            }
            SignalKind::Answer { .. } | SignalKind::Config { .. } => None,
        }
    }
}
