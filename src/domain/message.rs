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

/// A part of a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MessagePage {
    /// The message before the first one, by its id; nothing where the conversation's first is meant.
    pub after: Option<i64>,
    /// Messages at most.
    pub limit: u16,
}

impl MessagePage {
    /// Its messages, of those of the whole conversation.
    #[must_use]
    pub fn of(self, messages: &[Message]) -> &[Message] {
        let first = self.after.map_or(0, |after| messages.partition_point(|message| message.id <= after));
        let rest = &messages[first..];
        &rest[..rest.len().min(usize::from(self.limit))]
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_what_follows_by_id() {
        let said =
            |id| Message { id, role: MessageRole::Agent, content: "".into(), time: Utc::now(), event: EventId::from_i64(0) };
        // Ids of other servers may have gaps.
        let messages = [0, 1, 2, 5, 6].map(said);
        let ids = |after, limit| MessagePage { after, limit }.of(&messages).iter().map(|message| message.id).collect::<Vec<_>>();
        assert_eq!(ids(None, 2), [0, 1]);
        assert_eq!(ids(Some(1), 2), [2, 5]);
        assert_eq!(ids(Some(3), 9), [5, 6]);
        assert_eq!(ids(Some(-7), 1), [0]);
        assert!(ids(Some(6), 1).is_empty() && ids(Some(i64::MAX), 1).is_empty() && ids(None, 0).is_empty());
    }
}
