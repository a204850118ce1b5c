//! What handlers and layers share.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Instant;

use ipnet::IpNet;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::sync::Semaphore;

use super::host::AllowedHosts;
use crate::agent::Supervisor;
use crate::config;
use crate::lifecycle::Lifecycle;
use crate::postgres::Database;
use crate::rate_limit::RateLimiter;
use crate::redis::Redis;
use crate::session::Sessions;

/// The running server. Cheap to clone.
#[derive(Clone)]
pub struct App(Arc<State>);

/// What the server is made of.
pub struct Parts {
    /// The settings of the server itself.
    pub settings: config::Server,
    /// Postgres.
    pub database: Database,
    /// Redis, if it is on.
    pub redis: Option<Redis>,
    /// Sessions.
    pub sessions: Sessions,
    /// Rate limits, if they are on.
    pub limiter: Option<RateLimiter>,
    /// Agents.
    pub agents: Supervisor,
    /// When to stop.
    pub lifecycle: Lifecycle,
    /// The collected metrics.
    pub metrics: PrometheusHandle,
}

pub(super) struct State {
    parts: Parts,
    pub(super) started: Instant,
    pub(super) hosts: AllowedHosts,
    /// Passwords that may be hashed at once: each takes a core and 19 MiB.
    pub(super) hashing: Semaphore,
}

impl App {
    /// Puts the parts together.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let hosts = AllowedHosts::new(&parts.settings.allowed_hosts);
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self(Arc::new(State { parts, started: Instant::now(), hosts, hashing: Semaphore::new(cores) }))
    }

    pub(super) fn lifecycle(&self) -> &Lifecycle {
        &self.0.parts.lifecycle
    }

    pub(super) fn trusted_proxies(&self) -> &[IpNet] {
        &self.0.parts.settings.trusted_proxies
    }
}

impl Deref for App {
    type Target = State;

    fn deref(&self) -> &State {
        &self.0
    }
}

impl Deref for State {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.parts
    }
}
