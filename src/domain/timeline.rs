//! What an agent does beside what it says: its timeline.

use std::str::FromStr;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{EventId, Expected};

/// One entry of an agent's timeline. It may change until the turn it belongs to is over.
#[derive(Debug, Clone, PartialEq)]
pub struct TimelineEntry {
    /// Its place in the timeline, from 0.
    pub id: i64,
    /// What it is.
    pub kind: TimelineKind,
    /// What is known of it, a JSON object that depends on the kind; bounded.
    pub data: Value,
    /// When it was begun.
    pub time: DateTime<Utc>,
    /// The event that told of it as it is now.
    pub event: EventId,
}

/// What an entry of a timeline is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TimelineKind {
    /// A user message and what became of it: the stop reason, once the agent is done with it.
    Turn,
    /// A tool that the agent uses, as far as it has got with it.
    ToolCall,
    /// What the agent is going to do.
    Plan,
    /// What the agent thinks.
    Thought,
    /// What the agent asked for leave to do, and the answer.
    Approval,
    /// How much of its context the agent has used, and what it cost.
    Usage,
    /// Something about the session: begun, loaded, its commands and modes.
    Session,
}

impl TimelineKind {
    /// The kind's name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Turn => "turn",
            Self::ToolCall => "tool_call",
            Self::Plan => "plan",
            Self::Thought => "thought",
            Self::Approval => "approval",
            Self::Usage => "usage",
            Self::Session => "session",
        }
    }
}

impl FromStr for TimelineKind {
    type Err = Expected;

    fn from_str(text: &str) -> Result<Self, Expected> {
        [Self::Turn, Self::ToolCall, Self::Plan, Self::Thought, Self::Approval, Self::Usage, Self::Session]
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or(Expected("turn, tool_call, plan, thought, approval, usage or session"))
    }
}
