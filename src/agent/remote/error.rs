//! Why nothing came of a remote agent.

use std::fmt;

use crate::outbound::OutboundError;

/// Why nothing came of a call to a remote agent's server. Repeats nothing that was sent, and little of what was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RemoteError {
    /// There is no answer.
    NoAnswer(OutboundError),
    /// It is answered with a status that the protocol has no use for.
    Answered(u16),
    /// It does not find the request valid, and says why.
    Rejected(String),
    /// What answers does not speak the protocol.
    NotAgentApi(&'static str),
    /// The agent has ended at its server.
    Ended,
    /// The stream of events broke off.
    BrokenOff,
}

impl RemoteError {
    /// Whether nothing was sent: the same may be tried again without being done twice.
    #[must_use]
    pub const fn is_unsent(&self) -> bool {
        match self {
            Self::NoAnswer(error) => matches!(
                error,
                OutboundError::CircuitOpen { .. }
                    | OutboundError::HeldBack { .. }
                    | OutboundError::Overloaded
                    | OutboundError::Connect(_)
                    | OutboundError::Unresolved(_)
                    | OutboundError::Refused(_)
            ),
            Self::Answered(_) | Self::Rejected(_) | Self::NotAgentApi(_) | Self::Ended | Self::BrokenOff => false,
        }
    }
}

impl fmt::Display for RemoteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoAnswer(error) => write!(f, "the remote agent's server does not answer: {error}"),
            Self::Answered(status @ (401 | 403)) => {
                write!(f, "the remote agent's server answers {status}: it does not take the token")
            }
            Self::Answered(status @ 300..=399) => {
                write!(f, "the remote agent's server answers {status}: redirects are not followed")
            }
            Self::Answered(status) => write!(f, "the remote agent's server answers {status}"),
            Self::Rejected(why) => write!(f, "the remote agent's server does not take it: {why}"),
            Self::NotAgentApi(what) => write!(f, "what answers is no AgentAPI server: {what}"),
            Self::Ended => f.write_str("the remote agent has ended"),
            Self::BrokenOff => f.write_str("the remote agent's server broke off"),
        }
    }
}

impl std::error::Error for RemoteError {}

impl From<OutboundError> for RemoteError {
    fn from(error: OutboundError) -> Self {
        Self::NoAnswer(error)
    }
}
