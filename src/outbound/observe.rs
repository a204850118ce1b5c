//! A span and metrics a call.

use std::task::{Context, Poll};
use std::time::Instant;

use futures_util::future::BoxFuture;
use hyper::Response;
use tower::{Layer, Service};
use tracing::Instrument;

use super::{Body, Call, OutboundError};

/// Puts a span around calls and counts them.
#[derive(Debug, Clone, Copy)]
pub(super) struct ObserveLayer;

impl<S> Layer<S> for ObserveLayer {
    type Service = Observe<S>;

    fn layer(&self, inner: S) -> Observe<S> {
        Observe { inner }
    }
}

#[derive(Debug, Clone)]
pub(super) struct Observe<S> {
    inner: S,
}

impl<S> Service<Call> for Observe<S>
where
    S: Service<Call, Response = Response<Body>, Error = OutboundError>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = OutboundError;
    type Future = BoxFuture<'static, Result<Response<Body>, OutboundError>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), OutboundError>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, call: Call) -> Self::Future {
        let (start, kind) = (Instant::now(), call.service.kind());
        // Not its URI, which may hold what somebody keeps secret.
        let span = tracing::debug_span!("outbound.call", service = %call.service, http.method = %call.request.method());
        let answer = span.in_scope(|| self.inner.call(call));
        let observed = async move {
            let answer = answer.await;
            let outcome = match &answer {
                Ok(answer) => class(answer.status().as_u16()),
                Err(error) => error.as_str(),
            };
            metrics::counter!("agentapi_outbound_calls_total", "kind" => kind, "outcome" => outcome).increment(1);
            metrics::histogram!("agentapi_outbound_call_seconds", "kind" => kind).record(start.elapsed());
            if let Err(error) = &answer {
                tracing::debug!(%error, "a call has no answer");
            }
            answer
        };
        Box::pin(observed.instrument(span))
    }
}

const fn class(status: u16) -> &'static str {
    match status {
        ..200 => "1xx",
        200..300 => "2xx",
        300..400 => "3xx",
        400..500 => "4xx",
        500.. => "5xx",
    }
}
