//! What an agent asks leave to do.

use std::str::FromStr;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{ApprovalId, Expected, UserId};

/// What becomes of an agent's requests for leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ApprovalPolicy {
    /// They wait for a user's answer.
    #[default]
    Ask,
    /// They are granted at once.
    Allow,
    /// They are denied at once.
    Deny,
}

impl ApprovalPolicy {
    /// The policy's name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ask => "ask",
            Self::Allow => "allow",
            Self::Deny => "deny",
        }
    }
}

impl FromStr for ApprovalPolicy {
    type Err = Expected;

    fn from_str(text: &str) -> Result<Self, Expected> {
        [Self::Ask, Self::Allow, Self::Deny]
            .into_iter()
            .find(|policy| policy.as_str() == text)
            .ok_or(Expected("ask, allow or deny"))
    }
}

/// An answer that an agent offers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ApprovalOption {
    /// Names it to the agent.
    pub id: String,
    /// What it says to people.
    pub name: String,
    /// What it means: `allow_once`, `allow_always`, `reject_once` or `reject_always`.
    pub kind: String,
}

/// A request for leave as it is written when it is made.
#[derive(Debug, Clone, PartialEq)]
pub struct NewApproval {
    /// Its id.
    pub id: ApprovalId,
    /// The tool call it is about, as the agent tells of it; bounded.
    pub tool_call: Value,
    /// The answers that the agent offers.
    pub options: Vec<ApprovalOption>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it is denied unless it is answered.
    pub expires_at: DateTime<Utc>,
}

/// A request for leave, and what became of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Approval {
    /// What was asked.
    pub asked: NewApproval,
    /// What became of it.
    pub state: ApprovalState,
    /// The answer, if it was answered.
    pub option: Option<String>,
    /// Who answered.
    pub answered_by: Option<UserId>,
    /// When it was settled; of one that ended with its agent, nothing.
    pub settled_at: Option<DateTime<Utc>>,
}

/// What became of a request for leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ApprovalState {
    /// It waits for an answer.
    Pending,
    /// A user answered it.
    Answered,
    /// Nobody answered it in time, or before the agent ended: that denies it.
    Expired,
    /// The turn it belonged to was cancelled.
    Cancelled,
}

impl ApprovalState {
    /// The state's name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Answered => "answered",
            Self::Expired => "expired",
            Self::Cancelled => "cancelled",
        }
    }
}

impl FromStr for ApprovalState {
    type Err = Expected;

    fn from_str(text: &str) -> Result<Self, Expected> {
        [Self::Pending, Self::Answered, Self::Expired, Self::Cancelled]
            .into_iter()
            .find(|state| state.as_str() == text)
            .ok_or(Expected("pending, answered, expired or cancelled"))
    }
}
