//! How long a call may take: with all its attempts, and each attempt.

use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::time::{Instant, timeout_at};
use tower::{Layer, Service};

use super::{Call, OutboundError};

/// The last attempt ends so much before the whole call: that it took too long is then still told to the circuit breaker, for which a
/// call that is given up says nothing.
const TELLING: Duration = Duration::from_millis(5);

/// Ends calls that take too long.
#[derive(Debug, Clone, Copy)]
pub(super) enum DeadlineLayer {
    /// With all attempts.
    Total,
    /// Each attempt.
    Attempt,
}

impl<S> Layer<S> for DeadlineLayer {
    type Service = Deadline<S>;

    fn layer(&self, inner: S) -> Deadline<S> {
        Deadline { inner, of: *self }
    }
}

#[derive(Debug, Clone)]
pub(super) struct Deadline<S> {
    inner: S,
    of: DeadlineLayer,
}

impl<S> Service<Call> for Deadline<S>
where
    S: Service<Call, Error = OutboundError>,
    S::Response: Send + 'static,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = OutboundError;
    type Future = BoxFuture<'static, Result<S::Response, OutboundError>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), OutboundError>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, call: Call) -> Self::Future {
        let deadline = match self.of {
            DeadlineLayer::Total => call.deadline,
            DeadlineLayer::Attempt => (Instant::now() + call.timeouts.attempt).min(call.deadline - TELLING),
        };
        let answer = self.inner.call(call);
        Box::pin(async move { timeout_at(deadline, answer).await.unwrap_or(Err(OutboundError::Timeout)) })
    }
}
