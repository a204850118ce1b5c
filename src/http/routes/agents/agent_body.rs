//! An agent as clients see it.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::domain::{Agent, AgentKind, AgentState, AgentType, ApprovalPolicy, TerminalSize, Transport};

/// An agent.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Agent)]
pub(super) struct AgentBody {
    id: Uuid,
    name: Option<String>,
    #[serde(rename = "type")]
    agent_type: AgentType,
    transport: Transport,
    /// Program and arguments; empty for a remote agent.
    command: Vec<String>,
    /// Size of its terminal; null where it has none of this server's.
    terminal: Option<TerminalBody>,
    /// Where a remote agent is; null for any other.
    #[schema(example = "https://agent.example:3284")]
    url: Option<String>,
    /// What becomes of what an ACP agent asks leave for; null for any other.
    approval_policy: Option<ApprovalPolicy>,
    state: AgentState,
    /// Exit code of its program, once it ended by itself.
    exit_code: Option<i32>,
    /// The user who created it.
    created_by: Uuid,
    created_at: DateTime<Utc>,
    /// When it was last started.
    started_at: DateTime<Utc>,
    /// When it last ended.
    ended_at: Option<DateTime<Utc>>,
}

/// Size of a terminal in cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TerminalBody {
    #[schema(minimum = 10, maximum = 1000)]
    pub(super) width: u16,
    #[schema(minimum = 10, maximum = 1000)]
    pub(super) height: u16,
}

impl From<TerminalSize> for TerminalBody {
    fn from(size: TerminalSize) -> Self {
        Self { width: size.width(), height: size.height() }
    }
}

impl From<Agent> for AgentBody {
    fn from(agent: Agent) -> Self {
        let transport = agent.kind.transport();
        let (command, terminal, url, approval_policy) = match agent.kind {
            AgentKind::Program { command, terminal } => (command, Some(terminal.into()), None, None),
            AgentKind::Acp { command, approval_policy } => (command, None, None, Some(approval_policy)),
            AgentKind::Remote { url } => (Vec::new(), None, Some(url.to_string()), None),
        };
        Self {
            id: agent.id.as_uuid(),
            name: agent.name,
            agent_type: agent.agent_type,
            transport,
            command,
            terminal,
            url,
            approval_policy,
            state: agent.state,
            exit_code: agent.exit_code,
            created_by: agent.created_by.as_uuid(),
            created_at: agent.created_at,
            started_at: agent.started_at,
            ended_at: agent.ended_at,
        }
    }
}
