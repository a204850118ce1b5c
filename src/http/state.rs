//! What handlers and layers share.

use std::ops::Deref;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Bytes;
use tokio::sync::Semaphore;

use super::host::AllowedHosts;
use super::limit::Outcome;
use super::measure::{Counters, RequestMetrics};
use super::recent_answer::{PacedAnswer, RecentAnswer};
use super::routes::health::StatusResponse;
use super::serve::Connections;
use crate::agent::Supervisor;
use crate::api_key::ApiKeys;
use crate::cache::Directory;
use crate::circuit_breaker::CircuitBreakers;
use crate::config;
use crate::hashing::HashingQueue;
use crate::lifecycle::Lifecycle;
use crate::outbound::Outbound;
use crate::postgres::Database;
use crate::rate_limit::RateLimiter;
use crate::redis::Redis;
use crate::replica::Replicas;
use crate::session::Sessions;
use crate::telemetry::Metrics;

/// Ended sessions that wait for Postgres at most: some 1 MB.
const MAX_UNWRITTEN_ENDINGS: usize = 1000;

/// The running server. Cheap to clone.
#[derive(Clone)]
pub struct App(Arc<State>);

/// What the server is made of.
pub struct Parts {
    /// The settings of the server itself.
    pub settings: config::Server,
    /// Postgres.
    pub database: Database,
    /// Users and tenants as they are shown.
    pub directory: Directory,
    /// Redis, if it is on.
    pub redis: Option<Redis>,
    /// Sessions.
    pub sessions: Sessions,
    /// API keys.
    pub api_keys: ApiKeys,
    /// Rate limits, if they are on.
    pub limiter: Option<RateLimiter>,
    /// Agents.
    pub agents: Supervisor,
    /// The servers that act as one.
    pub replicas: Replicas,
    /// Calls to other services.
    pub outbound: Outbound,
    /// The circuit breakers around them, if they are on.
    pub breakers: Option<CircuitBreakers>,
    /// The connections of clients.
    pub connections: Connections,
    /// When to stop.
    pub lifecycle: Lifecycle,
    /// The collected metrics.
    pub metrics: Metrics,
}

struct State {
    parts: Parts,
    started: Instant,
    hosts: AllowedHosts,
    requests: RequestMetrics,
    session_checks: Counters<&'static str>,
    api_key_checks: Counters<&'static str>,
    decisions: Counters<Outcome>,
    unwritten_endings: Arc<Semaphore>,
    hashing: HashingQueue,
    status: RecentAnswer<StatusResponse>,
    rendered_metrics: PacedAnswer<Bytes>,
}

impl App {
    /// Puts the parts together.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let hosts = AllowedHosts::new(&parts.settings.allowed_hosts);
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self(Arc::new(State {
            parts,
            started: Instant::now(),
            hosts,
            requests: RequestMetrics::default(),
            session_checks: Counters::default(),
            api_key_checks: Counters::default(),
            decisions: Counters::default(),
            unwritten_endings: Arc::new(Semaphore::new(MAX_UNWRITTEN_ENDINGS)),
            hashing: HashingQueue::new(cores),
            status: RecentAnswer::default(),
            rendered_metrics: PacedAnswer::default(),
        }))
    }

    pub(super) fn uptime(&self) -> Duration {
        self.0.started.elapsed()
    }

    pub(super) fn hosts(&self) -> &AllowedHosts {
        &self.0.hosts
    }

    pub(super) fn request_metrics(&self) -> &RequestMetrics {
        &self.0.requests
    }

    /// Session checks, by result.
    pub(super) fn session_checks(&self) -> &Counters<&'static str> {
        &self.0.session_checks
    }

    /// Checks of API keys, by result.
    pub(super) fn api_key_checks(&self) -> &Counters<&'static str> {
        &self.0.api_key_checks
    }

    /// Rate limit decisions.
    pub(super) fn decisions(&self) -> &Counters<Outcome> {
        &self.0.decisions
    }

    /// Places for ended sessions that Postgres could not take yet.
    pub(super) fn unwritten_endings(&self) -> &Arc<Semaphore> {
        &self.0.unwritten_endings
    }

    /// The answer of `/status`.
    pub(super) fn status(&self) -> &RecentAnswer<StatusResponse> {
        &self.0.status
    }

    /// The answer of `/metrics`.
    pub(super) fn rendered_metrics(&self) -> &PacedAnswer<Bytes> {
        &self.0.rendered_metrics
    }

    /// The queue for hashing passwords.
    pub(super) fn hashing(&self) -> &HashingQueue {
        &self.0.hashing
    }
}

impl Deref for App {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0.parts
    }
}
