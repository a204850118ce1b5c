//! What is said between a user and an agent.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{EventId, Expected};

/// One message of a conversation. An agent's last message grows in place until it settles.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Its place in the conversation, from 0.
    pub id: i64,
    /// Who said it.
    pub role: MessageRole,
    /// What was said.
    pub content: Arc<str>,
    /// For a user: when sending began. For an agent: when the content last changed.
    pub time: DateTime<Utc>,
    /// The event that told of it as it is now.
    pub event: EventId,
}

/// Who said a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum MessageRole {
    /// The agent.
    Agent,
    /// The user.
    User,
}

impl MessageRole {
    /// The role's name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::User => "user",
        }
    }
}

impl FromStr for MessageRole {
    type Err = Expected;

    fn from_str(text: &str) -> Result<Self, Expected> {
        match text {
            "agent" => Ok(Self::Agent),
            "user" => Ok(Self::User),
            _ => Err(Expected("agent or user")),
        }
    }
}

/// Whether an agent waits for its user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum AgentStatus {
    /// Starting, or busy with a message.
    Running,
    /// Idle: takes a user message.
    Stable,
}

impl fmt::Display for AgentStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Running => "running",
            Self::Stable => "stable",
        })
    }
}
