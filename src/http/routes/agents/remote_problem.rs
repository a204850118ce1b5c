//! What goes wrong with remote agents, as clients see it.

use crate::agent::{RemoteError, Unreachable};
use crate::http::problem::{Code, Problem};
use crate::outbound::OutboundError;

impl From<RemoteError> for Problem {
    fn from(error: RemoteError) -> Self {
        match error {
            RemoteError::NoAnswer(error) => error.into(),
            RemoteError::Rejected(_) => Self::field("body", error.to_string()),
            RemoteError::Answered(_) | RemoteError::NotAgentApi(_) | RemoteError::Ended | RemoteError::BrokenOff => {
                Self::new(Code::UpstreamFailed).with_detail(error.to_string())
            }
        }
    }
}

impl From<Unreachable> for Problem {
    fn from(Unreachable { why, retry_after }: Unreachable) -> Self {
        match why {
            RemoteError::NoAnswer(OutboundError::CircuitOpen { .. } | OutboundError::HeldBack { .. }) => {
                Self::new(Code::CircuitOpen).with_retry_after(retry_after)
            }
            // How it fails to answer is for the log: a user must not learn by it what is where.
            RemoteError::NoAnswer(error) => {
                Self::new(Code::AgentUnreachable).with_retry_after(retry_after).with_cause(error.to_string())
            }
            why => Self::new(Code::AgentUnreachable).with_retry_after(retry_after).with_detail(why.to_string()),
        }
    }
}

/// The problem of whoever asked for an agent that cannot be attached to.
pub(super) fn of_new_agent(error: RemoteError) -> Problem {
    match error {
        RemoteError::NoAnswer(OutboundError::Unresolved(_) | OutboundError::Refused(_)) => {
            // One answer for both: whether a name exists here is not for users to find out.
            let message =
                "the name is not known, or this server may not call its address or port (AGENT_REMOTE_ALLOWED_NETWORKS)";
            Problem::field("body.url", message)
        }
        error => error.into(),
    }
}
