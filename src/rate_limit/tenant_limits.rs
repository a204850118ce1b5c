//! The limits of tenants, kept in the process for some seconds, so that no request waits for Postgres but the first of a tenant.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use metrics::Counter;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tokio_util::task::TaskTracker;

use crate::domain::{TenantId, TenantLimits};
use crate::postgres::{Database, DatabaseError};

/// How long what was read is not read again.
const FRESH: Duration = Duration::from_secs(5);

/// How long it is used while it is read again; who comes later waits for what is read, for a while.
const STALE: Duration = Duration::from_secs(60);

/// How long a request waits for what is read before it goes on with what was known, or with the settings.
const PATIENCE: Duration = Duration::from_millis(250);

/// How long a reading may take.
const READING: Duration = Duration::from_secs(2);

/// Tenants kept at most: some 2 MB.
const CAPACITY: usize = 10_000;

/// Where the limits of tenants are read from.
#[async_trait]
pub trait TenantLimitsSource: Send + Sync + 'static {
    /// The limits of a tenant.
    async fn read(&self, tenant: TenantId) -> Result<TenantLimits, DatabaseError>;
}

#[async_trait]
impl TenantLimitsSource for Database {
    async fn read(&self, tenant: TenantId) -> Result<TenantLimits, DatabaseError> {
        self.tenants().limits(tenant).await
    }
}

/// Looks up the limits of tenants. Cheap to clone.
#[derive(Clone)]
pub struct TenantLimitsCache {
    source: Arc<dyn TenantLimitsSource>,
    tasks: TaskTracker,
    slots: Arc<Mutex<HashMap<TenantId, Arc<Slot>>>>,
    near: Counter,
    miss: Counter,
}

#[derive(Debug, Default)]
struct Slot {
    known: watch::Sender<Option<Known>>,
    /// Whether somebody reads already.
    reading: AtomicBool,
}

#[derive(Debug, Clone, Copy)]
struct Known {
    limits: TenantLimits,
    read_at: Instant,
}

impl Slot {
    fn age(&self) -> Option<Duration> {
        self.known.borrow().map(|known| known.read_at.elapsed())
    }

    fn limits(&self) -> TenantLimits {
        self.known.borrow().map(|known| known.limits).unwrap_or_default()
    }
}

impl TenantLimitsCache {
    /// Keeps what is read from `source`, by tasks of `tasks`.
    #[must_use]
    pub fn new(source: Arc<dyn TenantLimitsSource>, tasks: TaskTracker) -> Self {
        let requests =
            |outcome| metrics::counter!("agentapi_cache_requests_total", "kind" => "tenant_limits", "outcome" => outcome);
        Self { source, tasks, slots: Arc::default(), near: requests("near"), miss: requests("miss") }
    }

    /// The limits of a tenant; while they cannot be read, the last known ones, or none of its own.
    pub async fn get(&self, tenant: TenantId) -> TenantLimits {
        let slot = self.slot(tenant);
        let age = slot.age();
        let requests = if age.is_some_and(|age| age < STALE) { &self.near } else { &self.miss };
        requests.increment(1);
        if age.is_some_and(|age| age < FRESH) {
            return slot.limits();
        }
        let mut known = slot.known.subscribe();
        if !slot.reading.swap(true, Ordering::AcqRel) {
            self.tasks.spawn(read(self.source.clone(), tenant, slot.clone()));
        }
        if age.is_none_or(|age| age >= STALE) {
            // Late or not: what is known then is the answer.
            let _ = timeout(PATIENCE, known.changed()).await;
        }
        slot.limits()
    }

    fn slot(&self, tenant: TenantId) -> Arc<Slot> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if slots.len() >= CAPACITY && !slots.contains_key(&tenant) {
            slots.retain(|_, slot| slot.age().is_some_and(|age| age < STALE));
            // So many tenants at once: begin again rather than grow.
            if slots.len() >= CAPACITY {
                slots.clear();
            }
        }
        slots.entry(tenant).or_default().clone()
    }
}

async fn read(source: Arc<dyn TenantLimitsSource>, tenant: TenantId, slot: Arc<Slot>) {
    let limits = match timeout(READING, source.read(tenant)).await {
        Ok(Ok(limits)) => limits,
        Ok(Err(error)) => {
            tracing::warn!(%tenant, %error, "cannot read the tenant's limits: those known hold on");
            slot.limits()
        }
        Err(_) => {
            tracing::warn!(%tenant, "reading the tenant's limits takes too long: those known hold on");
            slot.limits()
        }
    };
    // After a failure too: it is tried again when others would be read again.
    slot.known.send_replace(Some(Known { limits, read_at: Instant::now() }));
    slot.reading.store(false, Ordering::Release);
}

#[cfg(test)]
mod tests;
