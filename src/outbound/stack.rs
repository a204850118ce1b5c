//! The layers around every outgoing call, written once, in the order in which a call meets them.

use std::time::Duration;

use hyper::header::HeaderValue;
use hyper::{Response, StatusCode, header};
use tower::ServiceBuilder;
use tower::retry::RetryLayer;

use super::bound::BoundLayer;
use super::deadline::DeadlineLayer;
use super::observe::ObserveLayer;
use super::retry::RetryPolicy;
use super::{Body, Call, OutboundError};
use crate::circuit_breaker::{CircuitBreakerLayer, CircuitBreakers, Outcome, Streamed, SuccessfulProbe};
use crate::domain::Service;

/// Puts the layers around `client`, with circuit breakers if they are on. Clones share bounds, budget and breakers.
pub fn around<S>(
    client: S,
    breakers: Option<CircuitBreakers>,
) -> impl tower::Service<Call, Response = Response<Body>, Error = OutboundError, Future: Send> + Clone + Send + Sync + 'static
where
    S: tower::Service<Call, Response = Response<Body>, Error = OutboundError> + Clone + Send + Sync + 'static,
    S::Future: Send + 'static,
{
    ServiceBuilder::new()
        // 1. A span, metrics.
        .layer(ObserveLayer)
        // 2. How long, with all attempts? Ends with the head of the answer; a body may take its time.
        .layer(DeadlineLayer::Total)
        // 3. Once more, if that does no harm.
        .layer(RetryLayer::new(RetryPolicy::default()))
        // 4. Is the service known to fail? Each attempt is asked for and counted by itself. Health checks bypass it.
        .layer(CircuitBreakerLayer::new(breakers, classify))
        // 5. How many at once? Within the breaker: an open circuit takes no place. Health checks bypass it, too.
        .layer(BoundLayer::default())
        // 6. How long, this attempt?
        .layer(DeadlineLayer::Attempt)
        .service(client)
}

impl Streamed for Response<Body> {
    fn count_pieces(self, probe: SuccessfulProbe) -> Self {
        let is_stream = |kind: &HeaderValue| kind.as_bytes().starts_with(b"text/event-stream");
        if self.headers().get(header::CONTENT_TYPE).is_some_and(is_stream) {
            self.map(|body| body.count_pieces(probe))
        } else {
            self
        }
    }
}

/// What a result says of the service.
fn classify(service: Service, result: &Result<Response<Body>, OutboundError>) -> Outcome {
    match result {
        // Another server of ours answers: what it says is about the agent that was asked for, and no reason to cut off the others.
        Ok(_) if matches!(service, Service::Replica(_)) => Outcome::Success,
        // What is wrong with the message, not with the server: coder/agentapi says all of that as 500, even that its agent is busy.
        Ok(answer) if matches!(service, Service::Agent(_)) && is_agents_own(answer) => Outcome::Neutral,
        Ok(answer) if answer.status().is_server_error() => Outcome::Failure,
        Ok(answer) if answer.status() == StatusCode::TOO_MANY_REQUESTS => {
            retry_after(answer).map_or(Outcome::Neutral, Outcome::Throttled)
        }
        Ok(_) => Outcome::Success,
        // A name that a user chose and that is not known counts as one that is refused: else its circuit would tell one from the other.
        Err(OutboundError::Unresolved(_)) if matches!(service, Service::Replica(_)) => Outcome::Failure,
        Err(OutboundError::Timeout | OutboundError::Connect(_) | OutboundError::Broken(_)) => Outcome::Failure,
        Err(
            OutboundError::CircuitOpen { .. }
            | OutboundError::HeldBack { .. }
            | OutboundError::Overloaded
            | OutboundError::Unresolved(_)
            | OutboundError::Refused(_)
            | OutboundError::Aborted
            | OutboundError::Invalid(_),
        ) => Outcome::Neutral,
    }
}

/// Whether an answer of an agent's server is an error that it has thought about.
fn is_agents_own(answer: &Response<Body>) -> bool {
    let is_problem = |value: &HeaderValue| value.as_bytes().starts_with(b"application/problem+json");
    answer.status() == StatusCode::INTERNAL_SERVER_ERROR && answer.headers().get(header::CONTENT_TYPE).is_some_and(is_problem)
}

/// `Retry-After` in seconds. A date depends on two clocks: as if there were none.
fn retry_after(answer: &Response<Body>) -> Option<Duration> {
    answer.headers().get(header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}
