//! Calls to other services that have no answer, as clients see them.

use super::problem::{Code, Problem, RETRY_AFTER};
use crate::outbound::OutboundError;

impl From<OutboundError> for Problem {
    fn from(error: OutboundError) -> Self {
        let cause = error.to_string();
        match error {
            OutboundError::CircuitOpen { retry_after } => Self::new(Code::CircuitOpen).with_retry_after(retry_after),
            OutboundError::HeldBack { retry_after } => {
                Self::new(Code::CircuitOpen).with_detail("it asked not to be called for a while").with_retry_after(retry_after)
            }
            OutboundError::Overloaded => Self::new(Code::ServiceUnavailable).with_retry_after(RETRY_AFTER).with_cause(cause),
            OutboundError::Timeout => Self::new(Code::DeadlineExceeded).with_cause(cause),
            OutboundError::Connect(_) | OutboundError::Broken(_) => Self::new(Code::UpstreamFailed).with_cause(cause),
            // One answer for both: whether a name exists here is not for users to find out.
            OutboundError::Unresolved(_) | OutboundError::Refused(_) => Self::new(Code::UpstreamFailed)
                .with_detail("its name is not known, or its address may not be called")
                .with_cause(cause),
            OutboundError::Aborted => Self::new(Code::InvalidRequest).with_detail("the body broke off"),
            OutboundError::Invalid(_) => Self::internal(cause),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use axum::response::IntoResponse;

    use super::*;

    #[test]
    fn an_open_circuit_says_when_to_come_again() {
        let answer = Problem::from(OutboundError::CircuitOpen { retry_after: Duration::from_millis(29_001) }).into_response();
        assert_eq!((answer.status().as_u16(), &answer.headers()["retry-after"]), (503, &"30".parse().expect("text")));
        let problem = answer.extensions().get::<Problem>().expect("a problem");
        assert_eq!(problem.code.as_str(), "circuit_open");
    }
}
