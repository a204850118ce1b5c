//! Why there is no answer.

use std::time::Duration;

use crate::circuit_breaker::Refusal;

/// Why a call has no answer. Says nothing of what was sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OutboundError {
    /// The service failed lately, and is not called for a while.
    #[error("the circuit is open: the service failed lately")]
    CircuitOpen {
        /// Until when.
        retry_after: Duration,
    },
    /// The service asked not to be called for a while.
    #[error("the service asked not to be called for a while")]
    HeldBack {
        /// Until when.
        retry_after: Duration,
    },
    /// As many calls are under way as may be, in all or to this service.
    #[error("too many calls are under way")]
    Overloaded,
    /// No answer in time.
    #[error("no answer in time")]
    Timeout,
    /// No connection, or none in time.
    #[error("no connection: {0}")]
    Connect(String),
    /// The name could not be looked up, or has no address.
    #[error("the name is not known: {0}")]
    Unresolved(String),
    /// The address may not be connected to.
    #[error("the address is refused: {0}")]
    Refused(String),
    /// The connection broke before there was an answer, or what came is no HTTP.
    #[error("the connection broke: {0}")]
    Broken(String),
    /// Whoever sends the request's body broke off.
    #[error("the request's body broke off")]
    Aborted,
    /// The request cannot be sent.
    #[error("the request cannot be sent: {0}")]
    Invalid(&'static str),
}

impl From<Refusal> for OutboundError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Open(retry_after) => Self::CircuitOpen { retry_after },
            Refusal::HeldBack(retry_after) => Self::HeldBack { retry_after },
        }
    }
}

impl OutboundError {
    /// The error's name, for metrics.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::CircuitOpen { .. } => "circuit_open",
            Self::HeldBack { .. } => "held_back",
            Self::Overloaded => "overloaded",
            Self::Timeout => "timeout",
            Self::Connect(_) => "connect",
            Self::Unresolved(_) => "unresolved",
            Self::Refused(_) => "refused",
            Self::Broken(_) => "broken",
            Self::Aborted => "aborted",
            Self::Invalid(_) => "invalid",
        }
    }
}
