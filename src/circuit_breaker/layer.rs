//! A breaker around a client, as a tower layer.

use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tower::{Layer, Service as TowerService};

use super::{CircuitBreakers, Outcome, Refusal, SuccessfulProbe};
use crate::domain::Service;

/// A call that says whom it is for.
pub trait Guarded {
    /// Whom it is for.
    fn service(&self) -> Service;

    /// How long it may take.
    fn longest(&self) -> Duration;

    /// Whether the breaker decides on the call and counts its outcome; otherwise the call bypasses it.
    fn is_guarded(&self) -> bool {
        true
    }
}

/// An answer that may be a stream, of which the outcome of the call covers the head only.
pub trait Streamed {
    /// Counts a success of `probe` for each piece, if the answer is a stream.
    #[must_use]
    fn count_pieces(self, probe: SuccessfulProbe) -> Self;
}

/// Puts a breaker around a client; without breakers it does nothing.
///
/// `classify` says what a result says of the service. Whether a call may be made is decided in `call`: readiness is the inner
/// client's alone.
#[derive(Clone)]
pub struct CircuitBreakerLayer<R, E> {
    breakers: Option<CircuitBreakers>,
    classify: fn(Service, &Result<R, E>) -> Outcome,
}

impl<R, E> CircuitBreakerLayer<R, E> {
    /// A layer of these breakers.
    #[must_use]
    pub const fn new(breakers: Option<CircuitBreakers>, classify: fn(Service, &Result<R, E>) -> Outcome) -> Self {
        Self { breakers, classify }
    }
}

impl<S, R, E> Layer<S> for CircuitBreakerLayer<R, E> {
    type Service = CircuitBreakerService<S, R, E>;

    fn layer(&self, inner: S) -> Self::Service {
        CircuitBreakerService { inner, breakers: self.breakers.clone(), classify: self.classify }
    }
}

/// A client with a breaker around it.
pub struct CircuitBreakerService<S, R, E> {
    inner: S,
    breakers: Option<CircuitBreakers>,
    classify: fn(Service, &Result<R, E>) -> Outcome,
}

impl<S: Clone, R, E> Clone for CircuitBreakerService<S, R, E> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), breakers: self.breakers.clone(), classify: self.classify }
    }
}

impl<S, Q, R, E> TowerService<Q> for CircuitBreakerService<S, R, E>
where
    S: TowerService<Q, Response = R, Error = E> + Clone + Send + 'static,
    S::Future: Send,
    Q: Guarded + Send + 'static,
    R: Streamed + Send + 'static,
    E: From<Refusal> + Send + 'static,
{
    type Response = R;
    type Error = E;
    type Future = BoxFuture<'static, Result<R, E>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), E>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, call: Q) -> Self::Future {
        // The one that is ready goes with the call.
        let clone = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, clone);
        let Some(breakers) = self.breakers.clone().filter(|_| call.is_guarded()) else { return Box::pin(inner.call(call)) };
        let classify = self.classify;
        Box::pin(async move {
            let service = call.service();
            let permit = breakers.admit(service, call.longest()).await?;
            let result = inner.call(call).await;
            let outcome = classify(service, &result);
            match permit.settle(outcome).await {
                Some(probe) => result.map(|answer| answer.count_pieces(probe)),
                None => result,
            }
        })
    }
}
