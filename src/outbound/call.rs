//! A call on its way through the stack.

use std::time::Duration;

use hyper::{Method, Request};
use tokio::time::Instant;

use super::Body;
use crate::circuit_breaker::Guarded;
use crate::domain::{ReplicaId, Service};

/// How long a call may take until the head of its answer is there. Whoever waits for it should wait longer than in total: a call that
/// is given up before says nothing of the service, and so never opens a circuit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// With all attempts.
    pub total: Duration,
    /// Each attempt, connecting included.
    pub attempt: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { total: Duration::from_secs(10), attempt: Duration::from_secs(5) }
    }
}

/// A request to a service.
#[derive(Debug)]
pub struct Call {
    pub(super) service: Service,
    pub(super) request: Request<Body>,
    pub(super) timeouts: Timeouts,
    /// When it must be answered.
    pub(super) deadline: Instant,
    /// Attempts before this one.
    pub(super) attempts: u32,
    /// Whether there is no other attempt than the first, whatever becomes of it.
    pub(super) once: bool,
    /// Whether it is a health check, which bypasses circuit breaker and bounds.
    pub(super) is_health_check: bool,
}

impl Call {
    /// A call that begins now.
    #[must_use]
    pub fn new(service: Service, request: Request<Body>, timeouts: Timeouts) -> Self {
        Self {
            service,
            request,
            timeouts,
            deadline: Instant::now() + timeouts.total,
            attempts: 0,
            once: false,
            is_health_check: false,
        }
    }

    /// A call that begins now, and is not tried again.
    #[must_use]
    pub fn once(service: Service, request: Request<Body>, timeout: Duration) -> Self {
        Self { once: true, ..Self::new(service, request, Timeouts { total: timeout, attempt: timeout }) }
    }

    /// A health check of another server of this deployment, which begins now and is not tried again.
    #[must_use]
    pub fn health_check(replica: ReplicaId, request: Request<Body>, timeout: Duration) -> Self {
        Self { is_health_check: true, ..Self::once(Service::Replica(replica), request, timeout) }
    }

    /// The request.
    #[must_use]
    pub const fn request(&self) -> &Request<Body> {
        &self.request
    }

    /// The same once more, if it may be sent twice: its method is idempotent (RFC 9110, 9.2.2) and its body is kept.
    pub(super) fn again(&self) -> Option<Self> {
        const IDEMPOTENT: [Method; 5] = [Method::GET, Method::HEAD, Method::OPTIONS, Method::PUT, Method::DELETE];
        let repeatable = !self.once && IDEMPOTENT.contains(self.request.method());
        let body = repeatable.then(|| self.request.body().again()).flatten()?;
        let mut request = Request::new(body);
        *request.method_mut() = self.request.method().clone();
        *request.uri_mut() = self.request.uri().clone();
        *request.headers_mut() = self.request.headers().clone();
        Some(Self { request, ..*self })
    }
}

impl Guarded for Call {
    fn service(&self) -> Service {
        self.service
    }

    fn longest(&self) -> Duration {
        // With time to tell of it.
        self.timeouts.attempt + Duration::from_secs(1)
    }

    fn is_guarded(&self) -> bool {
        !self.is_health_check
    }
}
