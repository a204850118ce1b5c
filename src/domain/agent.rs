//! Agents: what kinds there are, what one is asked to be, and what is known of one.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use super::{AgentId, ApprovalPolicy, Expected, RemoteUrl, TenantId, UserId};

/// What is known of an agent, living or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agent {
    /// The tenant it belongs to.
    pub tenant_id: TenantId,
    /// Its id.
    pub id: AgentId,
    /// A name for people.
    pub name: Option<String>,
    /// Which coding agent it is.
    pub agent_type: AgentType,
    /// What it is, and so how it is spoken to.
    pub kind: AgentKind,
    /// Whether it lives.
    pub state: AgentState,
    /// Exit status of its program, once it ended by itself.
    pub exit_code: Option<i32>,
    /// Who started it.
    pub created_by: UserId,
    /// When it was created.
    pub created_at: DateTime<Utc>,
    /// When it was last started.
    pub started_at: DateTime<Utc>,
    /// When it last ended.
    pub ended_at: Option<DateTime<Utc>>,
}

/// What an agent is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AgentKind {
    /// A program in a terminal of this server.
    Program {
        /// Program and arguments it is started with.
        command: Vec<String>,
        /// Size of its terminal.
        terminal: TerminalSize,
    },
    /// A program of this server that speaks the Agent Client Protocol.
    Acp {
        /// Program and arguments it is started with.
        command: Vec<String>,
        /// What becomes of its requests for leave.
        approval_policy: ApprovalPolicy,
    },
    /// An agent that another server runs.
    Remote {
        /// Where.
        url: RemoteUrl,
    },
}

impl AgentKind {
    /// How such an agent is spoken to.
    #[must_use]
    pub const fn transport(&self) -> Transport {
        match self {
            Self::Program { .. } => Transport::Pty,
            Self::Acp { .. } => Transport::Acp,
            Self::Remote { .. } => Transport::Remote,
        }
    }
}

/// What a new agent is asked to be; parsed, allowed, not yet started.
#[derive(Debug, Clone)]
pub struct NewAgent {
    /// A name for people.
    pub name: Option<String>,
    /// Which coding agent.
    pub agent_type: AgentType,
    /// What it is.
    pub kind: NewAgentKind,
}

/// What a new agent is.
#[derive(Debug, Clone)]
pub enum NewAgentKind {
    /// A program to start.
    Program(NewProgram),
    /// A program to start that speaks the Agent Client Protocol.
    Acp(NewAcp),
    /// An agent of another server.
    Remote(NewRemote),
}

/// A program to start as an agent.
#[derive(Clone, PartialEq, Eq)]
pub struct NewProgram {
    /// Program and arguments.
    pub command: Vec<String>,
    /// Further environment variables; may hold secrets.
    pub env: BTreeMap<String, String>,
    /// A first message, sent once the agent is ready.
    pub initial_prompt: Option<String>,
    /// Size of its terminal.
    pub terminal: TerminalSize,
}

impl fmt::Debug for NewProgram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let env: Vec<_> = self.env.keys().collect();
        f.debug_struct("NewProgram").field("command", &self.command).field("env", &env).finish_non_exhaustive()
    }
}

/// A program to start as an agent that speaks the Agent Client Protocol.
#[derive(Clone, PartialEq, Eq)]
pub struct NewAcp {
    /// Program and arguments.
    pub command: Vec<String>,
    /// Further environment variables; may hold secrets.
    pub env: BTreeMap<String, String>,
    /// A first message, sent once the agent is ready.
    pub initial_prompt: Option<String>,
    /// What becomes of its requests for leave.
    pub approval_policy: ApprovalPolicy,
}

impl fmt::Debug for NewAcp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let env: Vec<_> = self.env.keys().collect();
        f.debug_struct("NewAcp").field("command", &self.command).field("env", &env).finish_non_exhaustive()
    }
}

/// An agent of another server to attach to.
#[derive(Debug, Clone)]
pub struct NewRemote {
    /// Where it is.
    pub url: RemoteUrl,
    /// What that server asks for as a bearer token, if it does.
    pub token: Option<SecretString>,
}

/// Which coding agent a program is: selects how its screen is read. Names and aliases are those of the AgentAPI protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the variants are names of products")]
pub enum AgentType {
    Claude,
    Goose,
    Aider,
    Codex,
    Gemini,
    Copilot,
    Amp,
    #[serde(alias = "cursor-agent")]
    Cursor,
    Auggie,
    #[serde(alias = "q")]
    AmazonQ,
    Opencode,
    Custom,
}

impl AgentType {
    /// Every type.
    pub const ALL: [Self; 12] = [
        Self::Claude,
        Self::Goose,
        Self::Aider,
        Self::Codex,
        Self::Gemini,
        Self::Copilot,
        Self::Amp,
        Self::Cursor,
        Self::Auggie,
        Self::AmazonQ,
        Self::Opencode,
        Self::Custom,
    ];

    /// The type's name in the protocol.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Claude => "claude",
            Self::Goose => "goose",
            Self::Aider => "aider",
            Self::Codex => "codex",
            Self::Gemini => "gemini",
            Self::Copilot => "copilot",
            Self::Amp => "amp",
            Self::Cursor => "cursor",
            Self::Auggie => "auggie",
            Self::AmazonQ => "amazonq",
            Self::Opencode => "opencode",
            Self::Custom => "custom",
        }
    }

    /// The program that is this agent; a custom agent has none of its own.
    #[must_use]
    pub const fn program(self) -> Option<&'static str> {
        match self {
            Self::Cursor => Some("cursor-agent"),
            Self::AmazonQ => Some("q"),
            Self::Custom => None,
            other => Some(other.as_str()),
        }
    }

    /// The command by which this agent speaks the Agent Client Protocol, if one is known.
    #[must_use]
    pub const fn acp_command(self) -> Option<&'static [&'static str]> {
        match self {
            Self::Claude => Some(&["claude-code-acp"]),
            Self::Codex => Some(&["codex-acp"]),
            Self::Gemini => Some(&["gemini", "--experimental-acp"]),
            Self::Opencode => Some(&["opencode", "acp"]),
            Self::Copilot => Some(&["copilot", "--acp"]),
            Self::Goose => Some(&["goose", "acp"]),
            Self::Auggie => Some(&["auggie", "--acp"]),
            Self::Cursor => Some(&["cursor-agent", "acp"]),
            Self::Aider | Self::Amp | Self::AmazonQ | Self::Custom => None,
        }
    }
}

impl FromStr for AgentType {
    type Err = Expected;

    fn from_str(text: &str) -> Result<Self, Expected> {
        const EXPECTED: Expected =
            Expected("claude, goose, aider, codex, gemini, copilot, amp, cursor, auggie, amazonq, opencode or custom");
        Self::ALL.into_iter().find(|kind| kind.as_str() == text || kind.program() == Some(text)).ok_or(EXPECTED)
    }
}

impl fmt::Display for AgentType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How an agent is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// By typing into its terminal and reading its screen.
    Pty,
    /// By the Agent Client Protocol, over its standard input and output.
    Acp,
    /// By the `AgentAPI` protocol, with the server that runs it.
    Remote,
}

impl Transport {
    /// The transport's name in the protocol.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pty => "pty",
            Self::Acp => "acp",
            Self::Remote => "remote",
        }
    }
}

impl FromStr for Transport {
    type Err = Expected;

    fn from_str(text: &str) -> Result<Self, Expected> {
        match text {
            "pty" => Ok(Self::Pty),
            "acp" => Ok(Self::Acp),
            "remote" => Ok(Self::Remote),
            _ => Err(Expected("pty, acp or remote")),
        }
    }
}

/// Whether an agent lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum AgentState {
    /// Its program runs on some server.
    Running,
    /// It was stopped, by a user or because its server was shut down.
    Stopped,
    /// Its program ended by itself.
    Exited,
    /// Its server died without a word.
    Lost,
}

impl AgentState {
    /// The state's name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Stopped => "stopped",
            Self::Exited => "exited",
            Self::Lost => "lost",
        }
    }
}

impl FromStr for AgentState {
    type Err = Expected;

    fn from_str(text: &str) -> Result<Self, Expected> {
        [Self::Running, Self::Stopped, Self::Exited, Self::Lost]
            .into_iter()
            .find(|state| state.as_str() == text)
            .ok_or(Expected("running, stopped, exited or lost"))
    }
}

/// Size of a terminal in cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TerminalSize {
    width: u16,
    height: u16,
}

impl TerminalSize {
    /// A terminal of `width` columns and `height` rows.
    ///
    /// # Errors
    /// If a side is below 10, where agents cannot draw, or so large that the screen would not be bounded.
    pub fn new(width: u16, height: u16) -> Result<Self, Expected> {
        if (10..=1000).contains(&width) && (10..=1000).contains(&height) {
            Ok(Self { width, height })
        } else {
            Err(Expected("a width and a height from 10 to 1000"))
        }
    }

    /// Columns.
    #[must_use]
    pub const fn width(self) -> u16 {
        self.width
    }

    /// Rows.
    #[must_use]
    pub const fn height(self) -> u16 {
        self.height
    }
}

impl Default for TerminalSize {
    /// 80 by 1000: so high that long replies stay on the screen, as in the AgentAPI protocol.
    fn default() -> Self {
        Self { width: 80, height: 1000 }
    }
}
