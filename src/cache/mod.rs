//! The cache: what is read often and changes seldom, in the process for some seconds, and in Redis for all replicas.
//!
//! A cache that fails is a miss, never an error. What is cached decides nothing, but for what API keys are checked against, which lives
//! for seconds: all else that says who may do what is known to sessions and to Postgres. `docs/adr/0007-a-change-leaves-a-quarantine.md`
//! tells how old values are kept from coming back.

mod directory;
mod encoding;
mod flights;
mod kind;
mod memory;
mod redis;
mod store;
mod untold;

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::domain::{CacheId, CacheKey, TenantId, random_bytes};

pub use self::directory::{Directory, TenantProfile, UserProfile};
pub use self::kind::{Kind, Policy};
pub use self::memory::MemoryCacheStore;
pub use self::redis::RedisCacheStore;
pub use self::store::{CacheError, CacheStore, Value};

use self::flights::{Boarding, Flights, Landed, Lead};
use self::kind::{jittered, longest_life};
use self::untold::{Kept, Untold};
use crate::redis::inherited;

/// What the process keeps at most, in bytes.
const NEAR_CAPACITY: usize = 32 * 1024 * 1024;

/// How long a fill may take: what took longer is not kept, and those who wait for it go and read for themselves.
pub(crate) const FILL: Duration = Duration::from_secs(5);

/// For how long after a change nothing is cached: far longer than a fill that began before it takes, with its way to the store.
pub(crate) const QUARANTINE: Duration = Duration::from_secs(30);

const _: () = assert!(FILL.as_secs() * 2 < QUARANTINE.as_secs());

/// How far another server's clock may be ahead for its values to be used here: so much longer they may be used.
pub(crate) const CLOCK_TOLERANCE: Duration = Duration::from_secs(2);

/// A cache. Cheap to clone.
#[derive(Clone)]
pub struct Cache(Arc<Inner>);

struct Inner {
    near: MemoryCacheStore,
    shared: Option<Arc<dyn CacheStore>>,
    flights: Flights,
    untold: Untold,
    tasks: TaskTracker,
    stopping: CancellationToken,
}

impl Cache {
    /// A cache in the process, in front of `shared` if there is such a store. Fills run as tasks of `tasks`, and until `stopping` what
    /// the store has yet to be told.
    #[must_use]
    pub fn new(shared: Option<Arc<dyn CacheStore>>, tasks: TaskTracker, stopping: CancellationToken) -> Self {
        let near = MemoryCacheStore::new(NEAR_CAPACITY);
        Self(Arc::new(Inner { near, shared, flights: Flights::default(), untold: Untold::default(), tasks, stopping }))
    }

    /// A tenant's thing of `kind`: what is cached, or what `fill` reads. Callers at the same time read once; that one of them goes away
    /// or fails concerns none of the others. That there is no such thing is not cached.
    ///
    /// # Errors
    /// Those of `fill`.
    pub async fn get<I, T, E, F>(
        &self,
        kind: &Kind<I, T>,
        tenant: TenantId,
        id: I,
        fill: impl Fn() -> F + Send + Sync + 'static,
    ) -> Result<Option<T>, E>
    where
        I: CacheId,
        T: Serialize + DeserializeOwned + Send + 'static,
        E: Send + 'static,
        F: Future<Output = Result<Option<T>, E>> + Send + 'static,
    {
        let (key, policy) = (kind.key(tenant, &id), kind.policy());
        if let Some(value) = self.0.near.find(&key).and_then(|value| encoding::decode(&value)) {
            count_request(policy, "near");
            return Ok(Some(value));
        }
        match self.0.flights.board(&key) {
            Boarding::Wait(waiter) => {
                count_request(policy, "joined");
                match waiter.landed().await {
                    Some(Landed::Nothing) => Ok(None),
                    Some(Landed::Value(value)) => match encoding::decode(&value) {
                        Some(value) => Ok(Some(value)),
                        None => fill().await,
                    },
                    None => fill().await,
                }
            }
            Boarding::Lead(lead) => {
                let (cache, fill) = (self.clone(), Arc::new(fill));
                let (answer, answered) = oneshot::channel();
                let fly = Arc::clone(&fill);
                // On a task of its own: those who wait for it do not depend on a caller that may hang up.
                self.0.tasks.spawn(inherited(async move { cache.fly(policy, &lead, &*fly, answer).await }));
                match answered.await {
                    Ok(result) => result,
                    Err(_) => fill().await,
                }
            }
        }
    }

    /// Forgets a tenant's thing of `kind`: to be called after each change of it.
    ///
    /// # Errors
    /// [`CacheError`]: others may go by the old value until the shared store hears of the change, which it is told again and again.
    pub async fn invalidate<I: CacheId, T>(&self, kind: &Kind<I, T>, tenant: TenantId, id: I) -> Result<(), CacheError> {
        self.forget(kind, tenant, &id);
        let Some(shared) = &self.0.shared else { return Ok(()) };
        let key = kind.key(tenant, &id);
        let told = shared.invalidate(&key, QUARANTINE).await;
        if told.is_err() {
            self.tell_later(shared, &key, kind.policy());
        }
        told
    }

    /// The same in this process alone, at once: during the quarantine it reads for itself, whatever the shared store still has.
    pub fn forget<I: CacheId, T>(&self, kind: &Kind<I, T>, tenant: TenantId, id: &I) {
        let key = kind.key(tenant, id);
        // In this order: what a flight keeps before it is grounded is found and forgotten.
        self.0.flights.ground(&key);
        self.0.near.quarantine(&key, QUARANTINE);
    }

    /// Has the shared store told of a change for as long as it may keep something older.
    fn tell_later(&self, shared: &Arc<dyn CacheStore>, key: &CacheKey, policy: Policy) {
        // One that had yet to be put there may have come a quarantine later.
        let until = Instant::now() + longest_life(policy.life) + QUARANTINE;
        match self.0.untold.keep(key, until) {
            Kept::First => {
                let (untold, stopping) = (self.0.untold.clone(), self.0.stopping.clone());
                self.0.tasks.spawn(untold.tell(Arc::clone(shared), stopping));
            }
            Kept::Further => {}
            Kept::No => tracing::warn!(
                kind = policy.name,
                "too many changes wait for Redis: what is cached there of one more may be shown for as long as it lives"
            ),
        }
    }

    /// Forgets all that this process knows: some changes may not have been heard of.
    pub fn forget_near(&self) {
        self.0.flights.ground_all();
        self.0.near.clear();
    }

    /// Brings a value from the shared store, or else by `fill`, and has it kept.
    async fn fly<T, E, F>(
        &self,
        policy: Policy,
        lead: &Lead,
        fill: &(impl Fn() -> F + Sync),
        answer: oneshot::Sender<Result<Option<T>, E>>,
    ) where
        T: Serialize + DeserializeOwned + Send,
        E: Send,
        F: Future<Output = Result<Option<T>, E>> + Send,
    {
        let found = self.shared_value(lead.key()).await;
        let is_away = matches!(found, Err(CacheError::Unavailable(_)));
        count_request(
            policy,
            match &found {
                Ok(Some(_)) => "hit",
                Ok(None) => "miss",
                Err(_) => "error",
            },
        );
        if let Ok(Some((value, bytes))) = found {
            self.keep_near(policy, lead, &bytes);
            lead.land(Landed::Value(bytes));
            // A caller that went away needs no answer, here and below.
            let _ = answer.send(Ok(Some(value)));
            return;
        }
        let (asked, read_at) = (Instant::now(), Utc::now());
        let value = match timeout(FILL, fill()).await {
            Ok(Ok(Some(value))) => value,
            Ok(Ok(None)) => {
                lead.land(Landed::Nothing);
                let _ = answer.send(Ok(None));
                return;
            }
            Ok(Err(error)) => {
                let _ = answer.send(Err(error));
                return count_fill(policy, "failed");
            }
            Err(_) => return count_fill(policy, "late"),
        };
        let Some(bytes) = encoding::encode(&value, policy.max_bytes) else {
            let _ = answer.send(Ok(Some(value)));
            return count_fill(policy, "too_large");
        };
        lead.land(Landed::Value(Arc::clone(&bytes)));
        let _ = answer.send(Ok(Some(value)));
        // The process may have been held up since it was read.
        let kept = if asked.elapsed() <= FILL { self.keep(policy, lead, &bytes, (read_at, is_away)).await } else { "late" };
        count_fill(policy, kept);
    }

    /// Keeps what was read, near and where it is shared, unless it may be old. Returns what came of it.
    async fn keep(&self, policy: Policy, lead: &Lead, bytes: &Value, (read_at, is_away): (DateTime<Utc>, bool)) -> &'static str {
        if !self.keep_near(policy, lead, bytes) {
            return "refused";
        }
        match &self.0.shared {
            None => "stored",
            // Who did not answer a moment ago is not asked again.
            Some(_) if is_away => "unavailable",
            Some(shared) => match shared.add(lead.key(), bytes, read_at, random_life(policy.life)).await {
                Ok(true) => "stored",
                Ok(false) => "refused",
                Err(_) => "unavailable",
            },
        }
    }

    async fn shared_value<T: DeserializeOwned>(&self, key: &CacheKey) -> Result<Option<(T, Value)>, CacheError> {
        // Whoever was to forget it there may not have reached it, or not yet.
        let is_old = self.0.untold.contains(key) || self.0.near.is_quarantined(key);
        let Some(shared) = self.0.shared.as_ref().filter(|_| !is_old) else { return Ok(None) };
        let found = shared.get(key).await.inspect_err(|error| tracing::debug!(%error, "the cache is taken to miss"))?;
        found.map(|bytes| encoding::decode(&bytes).map(|value| (value, bytes)).ok_or(CacheError::Unreadable)).transpose()
    }

    /// Keeps a value in the process, unless it may be old. Returns whether it did.
    fn keep_near(&self, policy: Policy, lead: &Lead, bytes: &Value) -> bool {
        let life = if self.0.shared.is_some() { policy.near } else { policy.life };
        lead.unless_grounded(|| self.0.near.keep(lead.key(), bytes, random_life(life))).unwrap_or(false)
    }
}

impl std::fmt::Debug for Cache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cache").field("shared", &self.0.shared.is_some()).finish_non_exhaustive()
    }
}

fn random_life(life: Duration) -> Duration {
    jittered(life, u32::from_ne_bytes(random_bytes()))
}

fn count_request(policy: Policy, outcome: &'static str) {
    metrics::counter!("agentapi_cache_requests_total", "kind" => policy.name, "outcome" => outcome).increment(1);
}

fn count_fill(policy: Policy, result: &'static str) {
    metrics::counter!("agentapi_cache_fills_total", "kind" => policy.name, "result" => result).increment(1);
}

#[cfg(test)]
mod tests;
