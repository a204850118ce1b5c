//! What goes wrong with agents that speak the Agent Client Protocol, as clients see it.

use crate::agent::{AcpError, ScreenError};
use crate::http::problem::{Code, Problem};

/// The problem of whoever asked for an agent that cannot be spoken to.
pub(super) fn of_new_agent(error: &AcpError) -> Problem {
    match error {
        AcpError::NoAnswer(_) => Problem::new(Code::AgentUnresponsive).with_detail(error.to_string()),
        AcpError::Ended(_) | AcpError::NotAcp(_) | AcpError::AuthenticationRequired(_) | AcpError::Answered(..) => {
            Problem::field("body.command", error.to_string())
        }
    }
}

impl From<ScreenError> for Problem {
    fn from(error: ScreenError) -> Self {
        match error {
            ScreenError::None => Self::new(Code::AgentHasNoScreen).with_detail(error.to_string()),
            ScreenError::Remote(error) => error.into(),
        }
    }
}
