//! What this server is and how it is.

use axum::Json;
use serde_json::{Value, json};

use crate::event;

pub(super) async fn about() -> Json<Value> {
    Json(json!({
        "name": "threadkeep-session-server",
        "version": env!("CARGO_PKG_VERSION"),
        "endpoints": {
            "sessions": "/v1/sessions",
            "stream": "/v1/stream/sessions/:sessionId",
            "messages": "/v1/sessions/:sessionId/messages",
            "agents": "/v1/sessions/:sessionId/agents",
            "approvals": "/v1/sessions/:sessionId/approvals/:approvalId",
            "toolResults": "/v1/sessions/:sessionId/tool-results",
            "health": "/health",
        },
    }))
}

fn status(status: &str) -> Json<Value> {
    Json(json!({"status": status, "timestamp": event::now()}))
}

pub(super) async fn health() -> Json<Value> {
    status("ok")
}

pub(super) async fn ready() -> Json<Value> {
    status("ready")
}

pub(super) async fn live() -> Json<Value> {
    status("live")
}
