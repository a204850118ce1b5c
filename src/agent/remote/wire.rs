//! Events of the `AgentAPI` protocol, as far as they matter. Unknown fields are ignored.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::Deserialize;

use crate::domain::{AgentStatus, MessageRole};

/// A message is new, or has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Update {
    /// The server's id of it.
    pub(super) id: i64,
    pub(super) role: MessageRole,
    pub(super) content: Arc<str>,
    /// When it was said; nothing where that cannot be read.
    pub(super) time: Option<DateTime<Utc>>,
}

/// What an event says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Event {
    Message(Update),
    Status(AgentStatus),
    /// Nothing that matters here.
    Other,
}

#[derive(Deserialize)]
struct MessageUpdate {
    id: i64,
    role: MessageRole,
    message: String,
    #[serde(default)]
    time: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct StatusChange {
    status: AgentStatus,
}

#[derive(Deserialize)]
struct Screen {
    screen: Arc<str>,
}

impl Event {
    /// Reads an event by its name and its data. What cannot be read does not matter.
    pub(super) fn read(name: &str, data: &str) -> Self {
        let read = match name {
            "message_update" => serde_json::from_str(data).map(Self::message),
            "status_change" => serde_json::from_str(data).map(|StatusChange { status }| Self::Status(status)),
            _ => Ok(Self::Other),
        };
        read.unwrap_or_else(|_| {
            tracing::debug!("a remote agent's event cannot be read");
            Self::Other
        })
    }

    fn message(MessageUpdate { id, role, message, time }: MessageUpdate) -> Self {
        let time = time.as_ref().and_then(|time| DateTime::parse_from_rfc3339(time.as_str()?).ok());
        // Postgres text cannot hold NUL: what is kept is what is compared.
        let content = if message.contains('\0') { message.replace('\0', "") } else { message };
        Self::Message(Update { id, role, content: content.into(), time: time.map(|time| time.to_utc()) })
    }
}

/// Reads a screen.
pub(super) fn screen(name: &str, data: &str) -> Option<Arc<str>> {
    if name != "screen" {
        return None;
    }
    serde_json::from_str(data).ok().map(|Screen { screen }| screen)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_of_both_kinds_of_servers_are_read_and_the_rest_does_not_matter() {
        let coder = r#"{"id":2,"role":"agent","message":"a\u0000b","time":"2026-04-10T15:52:23.426558635-05:00","more":[1]}"#;
        let time = DateTime::parse_from_rfc3339("2026-04-10T20:52:23.426558635Z").unwrap().to_utc();
        let update = Update { id: 2, role: MessageRole::Agent, content: "ab".into(), time: Some(time) };
        assert_eq!(Event::read("message_update", coder), Event::Message(update.clone()));
        for time in ["", r#","time":7"#, r#","time":"yesterday""#, r#","time":null"#] {
            let data = format!(r#"{{"id":2,"role":"agent","message":"ab"{time}}}"#);
            assert_eq!(Event::read("message_update", &data), Event::Message(Update { time: None, ..update.clone() }), "{data}");
        }
        let status = r#"{"status":"stable","agent_type":"a type of tomorrow"}"#;
        assert_eq!(Event::read("status_change", status), Event::Status(AgentStatus::Stable));
        for (name, data) in [
            ("agent_error", r#"{"message":"x","level":"error"}"#),
            ("message_update", "no JSON"),
            ("message_update", r#"{"id":"2","role":"agent","message":"x"}"#),
            ("message_update", r#"{"id":2,"role":"tool","message":"x"}"#),
            ("status_change", r#"{"status":"confused"}"#),
            ("tomorrow", "{}"),
        ] {
            assert_eq!(Event::read(name, data), Event::Other, "{name} {data}");
        }
    }
}
