//! Why nothing could be done with an agent.

use std::io;

use crate::agent::acp::AcpError;
use crate::agent::launch::SpawnError;
use crate::agent::live::SendError;
use crate::agent::remote::RemoteError;
use crate::domain::ApprovalState;
use crate::postgres::DatabaseError;

/// Why nothing could be done with an agent.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The tenant has no such agent.
    #[error("there is no such agent")]
    NotFound,
    /// The agent has ended.
    #[error("the agent is not running")]
    NotRunning,
    /// The agent runs, but not here.
    #[error("the agent runs on another server")]
    Elsewhere,
    /// Other servers take this one for dead: what it starts now would be lost.
    #[error("this server is taken for dead by the others")]
    Replaced,
    /// Another request with the same key asked for something else.
    #[error("the key was used for another request")]
    KeyReused,
    /// Another request with the same key is being answered.
    #[error("a request with this key is being answered")]
    KeyInUse,
    /// As many messages wait for the agent as may.
    #[error("as many messages wait for the agent as may")]
    QueueFull,
    /// The agent is being given the message.
    #[error("the agent is being given the message")]
    BeingDelivered,
    /// There are as many agents as there may be.
    #[error("this server runs as many agents as it may")]
    LimitReached,
    /// The server is stopping.
    #[error("the server is stopping")]
    Stopping,
    /// Its program cannot be run, by a mistake of who asked for it.
    #[error(transparent)]
    Program(SpawnError),
    /// Its program cannot be spoken to by the Agent Client Protocol.
    #[error(transparent)]
    Acp(#[from] AcpError),
    /// What the agent asked leave for is settled, and how.
    #[error("this is settled: {}", .0.as_str())]
    ApprovalSettled(ApprovalState),
    /// The agent did not offer that answer.
    #[error("expected one of the options that the agent offers")]
    NotOffered,
    /// A remote agent cannot be attached to, as its creator asked.
    #[error(transparent)]
    Attach(RemoteError),
    /// A file was not taken.
    #[error(transparent)]
    Send(#[from] SendError),
    /// Its secrets cannot be opened.
    #[error("the agent's secrets cannot be opened")]
    Sealed,
    /// The machine failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Postgres failed.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

impl From<SpawnError> for AgentError {
    fn from(error: SpawnError) -> Self {
        match error {
            SpawnError::Io(error) => Self::Io(error),
            SpawnError::NotFound { .. } | SpawnError::NotExecutable { .. } | SpawnError::Invalid(_) => Self::Program(error),
        }
    }
}
