//! The breakers of this process, one a service, and what they tell the store and learn from it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::machine::millis;
use super::sharing::note;
use super::view::{Admission, View};
use super::{CircuitStore, Event, Permit, Phase, Policy, Snapshot};
use crate::config;
use crate::domain::{Service, StoreUnavailable};

/// Services known at once: some 4 MB. Beyond it those are forgotten that were not called lately; if all were, a new one has no
/// memory in this process, and its calls pass.
const CAPACITY: usize = 10_000;

/// Services that were not called for so long may be forgotten.
const UNUSED_MS: u64 = 60_000;

/// Breakers around calls. Cheap to clone.
#[derive(Clone)]
pub struct CircuitBreakers(Arc<Inner>);

/// Why a call may not be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The circuit is open: the service failed, and is left alone for so long.
    Open(Duration),
    /// The service asked not to be called for so long (429 with `Retry-After`).
    HeldBack(Duration),
}

/// A circuit as it is listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownCircuit {
    /// Whose it is.
    pub service: Service,
    /// How it is.
    pub circuit: Snapshot,
}

/// What clones share. `sharing.rs` tells the store and learns from it.
pub(super) struct Inner {
    pub(super) store: Arc<dyn CircuitStore>,
    policies: Policies,
    /// How often at most the store is asked what others learnt; never if nobody else uses it.
    pub(super) peek_interval: Option<Duration>,
    pub(super) tasks: TaskTracker,
    start: Instant,
    entries: RwLock<HashMap<Service, Arc<Entry>>>,
    rounds: Mutex<Rounds>,
}

/// The policies by kind of service.
struct Policies {
    replicas: Policy,
    others: Policy,
}

/// When things were last done that are done at most so often.
#[derive(Debug, Default)]
pub(super) struct Rounds {
    pub(super) peeked: Option<u64>,
    pub(super) peeking: bool,
    swept: Option<u64>,
}

pub(super) struct Entry {
    pub(super) service: Service,
    view: Mutex<View>,
}

impl Entry {
    /// The view. Each change leaves it whole, so a panic elsewhere cannot have left it half-made.
    pub(super) fn lock(&self) -> MutexGuard<'_, View> {
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a call.
    pub(super) fn count(&self, outcome: &'static str) {
        metrics::counter!("agentapi_circuit_calls_total", "kind" => self.service.kind(), "outcome" => outcome).increment(1);
    }
}

impl CircuitBreakers {
    /// Breakers over `store` as `settings` say, none if they say so. What others learn is asked for once a `peek_interval` at most,
    /// and only while calls are made; `None` if nobody else uses the store. What goes on in the background does so in `tasks`.
    #[must_use]
    pub fn new(
        store: Arc<dyn CircuitStore>,
        settings: &config::CircuitBreaker,
        peek_interval: Option<Duration>,
        tasks: TaskTracker,
    ) -> Option<Self> {
        let inner = Inner {
            store,
            policies: Policies { replicas: Policy::for_replicas(settings), others: Policy::new(settings) },
            peek_interval,
            tasks,
            start: Instant::now(),
            entries: RwLock::default(),
            rounds: Mutex::default(),
        };
        settings.enabled.then(|| Self(Arc::new(inner)))
    }

    /// Asks leave to call `service`; there will be an outcome within `longest`. While the circuit is closed nobody is waited for.
    ///
    /// # Errors
    /// [`Refusal`].
    pub async fn admit(&self, service: Service, longest: Duration) -> Result<Permit, Refusal> {
        let inner = &self.0;
        let now = inner.now();
        let entry = inner.entry(service, now);
        let admission = entry.lock().admit(now);
        inner.peek_if_due(now);
        let refusal = match admission {
            Admission::Pass(generation) => return Ok(inner.permit(entry, generation, None)),
            Admission::Ask(seen) => match inner.ask(entry.clone(), seen, longest).await {
                Ok(permit) => return Ok(permit),
                Err(refusal) => refusal,
            },
            Admission::Open(wait) => Refusal::Open(wait),
            Admission::HeldBack(wait) => Refusal::HeldBack(wait),
        };
        entry.count("rejected");
        Err(refusal)
    }

    /// Services of each kind whose circuit is not closed, as far as this process knows. Asks nobody.
    #[must_use]
    pub fn open(&self) -> HashMap<&'static str, u32> {
        let now = self.0.now();
        let mut open = HashMap::from([("upstream", 0), ("agent", 0), ("replica", 0)]);
        for entry in self.0.entries().values() {
            if entry.lock().is_open(now) {
                *open.entry(entry.service.kind()).or_default() += 1;
            }
        }
        open
    }

    /// Circuits that are not closed, in the order of their services' texts, after `after`, at most `limit`: those of all replicas, or
    /// what this process knows while the store is away. Returns too whether they are of all.
    pub async fn list(&self, after: Option<Service>, limit: usize) -> (Vec<KnownCircuit>, bool) {
        match note(self.0.list(after, limit).await) {
            Ok(circuits) => (circuits, true),
            Err(_) => (self.0.known(after, limit), false),
        }
    }

    /// Closes the circuit of `service`, whatever it knows.
    ///
    /// # Errors
    /// [`StoreUnavailable`]; then it stays as it is.
    pub async fn reset(&self, service: Service) -> Result<(), StoreUnavailable> {
        let inner = &self.0;
        let entry = inner.entry(service, inner.now());
        let seen = entry.lock().circuit.generation;
        let policy = inner.policy(service);
        let answer = inner.store.apply(service, seen, Event::Reset, policy).await?;
        inner.change(&entry, |view, now| view.adopt_anyway(&answer.circuit, policy, now));
        Ok(())
    }

    /// Whether the circuit of `service` is open or half-open, as far as this process knows.
    #[must_use]
    pub fn is_open(&self, service: Service) -> bool {
        let now = self.0.now();
        self.0.entries().get(&service).is_some_and(|entry| entry.lock().is_open(now))
    }

    /// Closes the circuit of `service`, which is known to be healthy: at once in this process, and in the background in the store. Does
    /// nothing if it is closed in this process.
    pub fn close(&self, service: Service) {
        if self.is_open(service) {
            self.0.close(&self.0.entry(service, self.0.now()));
        }
    }
}

impl Inner {
    pub(super) fn now(&self) -> u64 {
        millis(self.start.elapsed())
    }

    /// The policy of a service's circuit.
    pub(super) const fn policy(&self, service: Service) -> &Policy {
        match service {
            Service::Replica(_) => &self.policies.replicas,
            Service::Upstream(..) | Service::Agent(_) => &self.policies.others,
        }
    }

    /// A policy for reading circuits of several kinds, which changes none of them.
    pub(super) const fn policy_for_reads(&self) -> &Policy {
        &self.policies.others
    }

    async fn list(&self, after: Option<Service>, limit: usize) -> Result<Vec<KnownCircuit>, StoreUnavailable> {
        let services = self.store.not_closed(after, limit).await?;
        let circuits = self.store.peek(&services, self.policy_for_reads()).await?;
        let known = services.into_iter().zip(circuits);
        Ok(known.filter_map(|(service, circuit)| Some(KnownCircuit { service, circuit: circuit? })).collect())
    }

    fn known(&self, after: Option<Service>, limit: usize) -> Vec<KnownCircuit> {
        let now = self.now();
        let mut known: Vec<(String, KnownCircuit)> = Vec::new();
        for entry in self.entries().values() {
            let (view, service) = (entry.lock(), entry.service);
            if view.is_open(now) {
                known.push((service.to_string(), KnownCircuit { service, circuit: view.circuit.snapshot(now) }));
            }
        }
        known.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        let after = after.map(|after| after.to_string());
        let rest = known.into_iter().filter(|(text, _)| after.as_ref().is_none_or(|after| text > after));
        rest.take(limit).map(|(_, circuit)| circuit).collect()
    }

    pub(super) fn permit(self: &Arc<Self>, entry: Arc<Entry>, generation: u64, probe: Option<u64>) -> Permit {
        Permit { inner: self.clone(), entry, generation, probe, settled: false }
    }

    pub(super) fn entries(&self) -> std::sync::RwLockReadGuard<'_, HashMap<Service, Arc<Entry>>> {
        self.entries.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn rounds(&self) -> MutexGuard<'_, Rounds> {
        self.rounds.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn entry(&self, service: Service, now: u64) -> Arc<Entry> {
        if let Some(entry) = self.entries().get(&service) {
            return entry.clone();
        }
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        if entries.len() >= CAPACITY {
            self.forget_unused(&mut entries, now);
        }
        let entry = Arc::new(Entry { service, view: Mutex::new(View::new()) });
        if entries.len() >= CAPACITY {
            return entry;
        }
        entries.entry(service).or_insert(entry).clone()
    }

    /// At most once a second, since it looks at all.
    fn forget_unused(&self, entries: &mut HashMap<Service, Arc<Entry>>, now: u64) {
        let mut rounds = self.rounds();
        if rounds.swept.is_none_or(|swept| now >= swept + 1000) {
            rounds.swept = Some(now);
            entries.retain(|_, entry| Arc::strong_count(entry) > 1 || !entry.lock().is_idle(now, UNUSED_MS));
        }
    }

    /// Changes a view, and says so if the circuit's phase changed with it.
    pub(super) fn change<T>(&self, entry: &Entry, change: impl FnOnce(&mut View, u64) -> T) -> T {
        let now = self.now();
        let mut view = entry.lock();
        let before = view.phase(now);
        let result = change(&mut view, now);
        let (after, circuit) = (view.phase(now), view.circuit.snapshot(now));
        drop(view);
        if before != after {
            tell(entry.service, before, &circuit);
        }
        result
    }

    pub(super) fn hold_back(&self, entry: &Entry, wait: Duration) {
        let ms = millis(wait).min(self.policy(entry.service).open_ms);
        self.change(entry, |view, now| view.hold_back(ms, now));
    }
}

/// One line a transition, and one count.
fn tell(service: Service, from: Phase, circuit: &Snapshot) {
    let (from, to) = (from.as_str(), circuit.phase.as_str());
    metrics::counter!("agentapi_circuit_transitions_total", "kind" => service.kind(), "to" => to).increment(1);
    match circuit.phase {
        Phase::Open => {
            let seconds = Duration::from_millis(circuit.wait_ms).as_secs_f64();
            tracing::warn!(%service, from, to, seconds, "the circuit is open: calls are refused");
        }
        Phase::HalfOpen => tracing::info!(%service, from, to, "the circuit is half-open: a few calls try the service"),
        Phase::Closed => tracing::info!(%service, from, to, "the circuit is closed: calls pass"),
    }
}
