//! The HTTP client: pooled connections, HTTP/1.1.

use std::error::Error;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;
use hyper::header::{self, HeaderMap, HeaderName};
use hyper::{Response, Version};
use hyper_util::client::legacy::{Client, Error as ClientError};
use hyper_util::rt::TokioTimer;
use tower::Service as TowerService;

use super::connect::{ConnectError, Connector, Tasks};
use super::{Body, Call, OutboundError, Resolvers};
use crate::domain::Service;

/// A connection that was idle for longer is not used again: something on the way may have forgotten it without a word.
pub(crate) const MAX_IDLE: Duration = Duration::from_secs(60);

/// Idle connections kept a host.
const MAX_IDLE_PER_HOST: usize = 32;

/// Longest head of an answer.
const MAX_HEAD_BYTES: usize = 64 * 1024;

/// Clients, one a resolver: a connection that one of them may make is not for the calls of another.
#[derive(Clone)]
pub(super) struct Clients {
    named_by_users: Client<Connector, Body>,
    replicas: Client<Connector, Body>,
    /// For health checks of other servers. It keeps no connections: a kept one may hang although the server is healthy.
    health_checks: Client<Connector, Body>,
}

impl Clients {
    pub(super) fn new(resolvers: Resolvers) -> Self {
        let client = |resolver, max_idle| {
            Client::builder(Tasks::default())
                .pool_timer(TokioTimer::new())
                .pool_idle_timeout(MAX_IDLE)
                .pool_max_idle_per_host(max_idle)
                .http1_max_buf_size(MAX_HEAD_BYTES)
                .build(Connector::new(resolver))
        };
        Self {
            named_by_users: client(resolvers.named_by_users, MAX_IDLE_PER_HOST),
            replicas: client(resolvers.replicas.clone(), MAX_IDLE_PER_HOST),
            health_checks: client(resolvers.replicas, 0),
        }
    }
}

impl TowerService<Call> for Clients {
    type Response = Response<Body>;
    type Error = OutboundError;
    type Future = BoxFuture<'static, Result<Response<Body>, OutboundError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), OutboundError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, call: Call) -> Self::Future {
        let client = match call.service {
            Service::Upstream(..) | Service::Agent(_) => &self.named_by_users,
            Service::Replica(_) if call.is_health_check => &self.health_checks,
            Service::Replica(_) => &self.replicas,
        };
        let mut request = call.request;
        if !matches!(request.uri().scheme_str(), Some("http" | "https")) || request.uri().host().is_none_or(str::is_empty) {
            return Box::pin(async { Err(OutboundError::Invalid("its URI is not absolute, http or https")) });
        }
        *request.version_mut() = Version::HTTP_11;
        // What is passed on may have come with the name of another host.
        request.headers_mut().remove(header::HOST);
        forget_connection(request.headers_mut());
        let answer = client.request(request);
        Box::pin(async move {
            let mut answer = answer.await.map_err(|error| outbound_error(&error))?.map(Body::from);
            forget_connection(answer.headers_mut());
            Ok(answer)
        })
    }
}

/// Takes away the headers that are about one connection (RFC 9110, 7.6.1), so that a message can be passed on as it is.
fn forget_connection(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|names| names.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    let known = [header::CONNECTION, header::TE, header::TRAILER, header::TRANSFER_ENCODING, header::UPGRADE];
    let others = ["keep-alive", "proxy-connection", "proxy-authorization"].map(HeaderName::from_static);
    for name in named.into_iter().chain(known).chain(others) {
        headers.remove(name);
    }
}

/// What went wrong, in our words.
fn outbound_error(error: &ClientError) -> OutboundError {
    let causes = || std::iter::successors(error.source(), |&cause| cause.source());
    if let Some(refusal) = causes().find_map(|cause| cause.downcast_ref::<ConnectError>()) {
        return match refusal {
            ConnectError::Refused(why) => OutboundError::Refused(why.clone()),
            ConnectError::Unknown(why) => OutboundError::Unresolved(why.clone()),
            ConnectError::Failed(why) => OutboundError::Connect(why.clone()),
        };
    }
    match causes().find_map(|cause| cause.downcast_ref::<hyper::Error>()) {
        Some(error) if error.is_user() => OutboundError::Aborted,
        Some(error) => OutboundError::Broken(error.to_string()),
        None => OutboundError::Broken(error.to_string()),
    }
}
