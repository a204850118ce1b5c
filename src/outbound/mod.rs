//! Every call that leaves the process goes through one stack of layers (`stack.rs`), but for those to Redis and Postgres, whose
//! rooms guard themselves.
//!
//! ```text
//! Outbound::call -> stack (span, deadline, retries, circuit breaker, bound, time an attempt) -> client (pooled HTTP connections)
//!                                                              -> connect (TCP, TLS) -> resolve (names to permitted addresses)
//! ```

mod address_policy;
mod body;
mod bound;
mod call;
mod client;
mod connect;
mod deadline;
mod error;
mod guarded_resolver;
mod keep_alive;
mod observe;
mod replica_resolver;
mod resolve;
mod retry;
mod stack;

use std::sync::Arc;
use std::time::Duration;

use hyper::{Request, Response};
use tower::ServiceExt;
use tower::util::BoxCloneSyncService;

pub use self::address_policy::{AddressPolicy, Forbidden};
pub use self::body::{Body, BoxError};
pub use self::call::{Call, Timeouts};
pub(crate) use self::client::MAX_IDLE;
pub use self::error::OutboundError;
pub use self::guarded_resolver::GuardedResolver;
pub use self::replica_resolver::ReplicaResolver;
pub use self::resolve::{Resolve, ResolveError, SystemResolver};
pub use self::stack::around;

use self::client::Clients;
use crate::circuit_breaker::CircuitBreakers;
use crate::domain::{ReplicaId, Service};

/// Calls other services over HTTP/1.1. Cheap to clone; makes its first connection when it is first asked for something.
#[derive(Clone)]
pub struct Outbound {
    stack: BoxCloneSyncService<Call, Response<Body>, OutboundError>,
    breakers: Option<CircuitBreakers>,
}

/// How names become addresses, for each kind of service. What may be connected to is decided there ([`GuardedResolver`]). Connections are never shared
/// between the two.
#[derive(Clone)]
pub struct Resolvers {
    /// For places that users named, and remote agents.
    pub named_by_users: Arc<dyn Resolve>,
    /// For other servers of this deployment.
    pub replicas: Arc<dyn Resolve>,
}

impl Default for Resolvers {
    /// The system's names, and any address.
    fn default() -> Self {
        Self { named_by_users: Arc::new(SystemResolver), replicas: Arc::new(SystemResolver) }
    }
}

impl Outbound {
    /// Calls with circuit breakers, if they are on.
    #[must_use]
    pub fn new(breakers: Option<CircuitBreakers>, resolvers: Resolvers) -> Self {
        Self { stack: BoxCloneSyncService::new(around(Clients::new(resolvers), breakers.clone())), breakers }
    }

    /// Sends a request to `service`, and waits for the head of its answer; the body then comes as it comes. The request's URI is
    /// absolute, `http` or `https`. Redirects are not followed and proxies not used: an answer is what the URI's host said.
    ///
    /// # Errors
    /// [`OutboundError`]. An answer is none, whatever its status.
    pub async fn call(&self, service: Service, request: Request<Body>) -> Result<Response<Body>, OutboundError> {
        self.call_within(service, request, Timeouts::default()).await
    }

    /// As [`Outbound::call`], with other times than usual.
    ///
    /// # Errors
    /// [`OutboundError`].
    pub async fn call_within(
        &self,
        service: Service,
        request: Request<Body>,
        timeouts: Timeouts,
    ) -> Result<Response<Body>, OutboundError> {
        self.stack.clone().oneshot(Call::new(service, request, timeouts)).await
    }

    /// As [`Outbound::call`], but tried once only, for callers who try again in their own time.
    ///
    /// # Errors
    /// [`OutboundError`].
    pub async fn call_once(
        &self,
        service: Service,
        request: Request<Body>,
        timeout: Duration,
    ) -> Result<Response<Body>, OutboundError> {
        self.stack.clone().oneshot(Call::once(service, request, timeout)).await
    }

    /// Sends a health check to another server of this deployment: on a new connection, and regardless of its circuit and of the bounds of
    /// calls.
    ///
    /// # Errors
    /// [`OutboundError`].
    pub async fn check_health(
        &self,
        replica: ReplicaId,
        request: Request<Body>,
        timeout: Duration,
    ) -> Result<Response<Body>, OutboundError> {
        self.stack.clone().oneshot(Call::health_check(replica, request, timeout)).await
    }

    /// Whether the circuit of `service` is open or half-open, as far as this process knows.
    #[must_use]
    pub fn is_circuit_open(&self, service: Service) -> bool {
        self.breakers.as_ref().is_some_and(|breakers| breakers.is_open(service))
    }

    /// Closes the circuit of `service`, which is known to be healthy.
    pub fn close_circuit(&self, service: Service) {
        if let Some(breakers) = &self.breakers {
            breakers.close(service);
        }
    }
}
