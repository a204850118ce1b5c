//! Circuits in Redis, for all replicas together.
//!
//! What becomes of a circuit is worked out here, by the same function as everywhere, and replaces the value in Redis only if that is the
//! one it was worked out from. The values are authenticated: whoever can write to Redis, and does not have `TOKEN_ENCRYPTION_KEY`, can make
//! servers forget a circuit, and cannot open one.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use tokio::sync::oneshot;

use super::batch::{Applied, Waiting, applied, listing};
use super::sealed::Written;
use super::{Answer, CircuitStore, Event, Phase, Policy, Snapshot};
use crate::domain::{KeyRing, Service, StoreUnavailable};
use crate::redis::{CircuitValue, Redis, Swapped};

/// How often the list of circuits is read at most until all that it names are there.
const READS: usize = 10;

/// How often a change is tried at most: each time after the first, another server changed the same circuit in between.
const ATTEMPTS: usize = 50;

/// Turns in which this process changes circuits: what waits for a turn goes together, so that its own changes never compete, and other
/// servers compete with one of them at a time.
const TURNS: usize = 64;

/// Circuits whose newest value is remembered: some 4 MB. Where there is no room for one more, all are got to know again.
const CAPACITY: usize = 10_000;

/// By how much servers' knowledge of Redis' clock may differ, half a slow round trip each. A value that is older than the newest known one
/// by more was written back; one that is from the future by more is of a clock that was set back since.
const CLOCK_TOLERANCE_MS: u64 = 500;

/// Keeps circuits under `circuit:{service}`.
#[derive(Debug, Clone)]
pub struct RedisCircuitStore(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    redis: Redis,
    keys: KeyRing,
    turns: [tokio::sync::Mutex<()>; TURNS],
    waiting: Mutex<HashMap<Service, Vec<(Waiting, Caller)>>>,
    newest: Mutex<HashMap<Service, Newest>>,
    /// Whether it was logged that a value was refused.
    has_warned: AtomicBool,
}

/// Takes the answer to whoever waits for it.
type Caller = oneshot::Sender<Result<Answer, StoreUnavailable>>;

/// The newest value of a circuit that this process has seen.
#[derive(Debug, Clone)]
struct Newest {
    text: String,
    written_at: u64,
}

impl RedisCircuitStore {
    /// Keeps them in `redis`, authenticated by `keys`.
    #[must_use]
    pub fn new(redis: Redis, keys: KeyRing) -> Self {
        let turns = std::array::from_fn(|_| tokio::sync::Mutex::default());
        let (waiting, newest, has_warned) = (Mutex::default(), Mutex::default(), AtomicBool::new(false));
        Self(Arc::new(Inner { redis, keys, turns, waiting, newest, has_warned }))
    }
}

impl Inner {
    /// The circuit of an authentic value that is neither from the future nor older than what is known; nothing of any other.
    fn read(&self, service: Service, text: &str, now: u64) -> Option<Written> {
        let Some(written) = Written::open(&self.keys, service, text) else {
            self.refuse("unauthenticated");
            return None;
        };
        if written.at > now + CLOCK_TOLERANCE_MS {
            // Redis' clock was set back: what is kept by the other clock is forgotten.
            return None;
        }
        if self.newest(service, now).is_some_and(|newest| written.at + CLOCK_TOLERANCE_MS < newest.written_at) {
            self.refuse("replayed");
            return None;
        }
        self.remember(service, text, written.at, now);
        Some(written)
    }

    fn refuse(&self, reason: &'static str) {
        metrics::counter!("agentapi_circuit_values_refused_total", "reason" => reason).increment(1);
        if !self.has_warned.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                reason,
                "a circuit in Redis was not written by a server with our TOKEN_ENCRYPTION_KEY, or was written back: it is ignored, as \
                 are more of them (docs/SECURITY.md)"
            );
        }
    }

    /// The newest value that is known of a circuit, unless it is from the future: then Redis' clock was set back.
    fn newest(&self, service: Service, now: u64) -> Option<Newest> {
        self.lock().get(&service).filter(|newest| newest.written_at <= now + CLOCK_TOLERANCE_MS).cloned()
    }

    /// Remembers a value. What counts as the newest never gets older, but for a clock that was set back.
    fn remember(&self, service: Service, text: &str, written_at: u64, now: u64) {
        let known = self.newest(service, now).map_or(0, |newest| newest.written_at);
        let mut newest = self.lock();
        if newest.len() >= CAPACITY && !newest.contains_key(&service) {
            newest.clear();
        }
        newest.insert(service, Newest { text: text.to_owned(), written_at: written_at.max(known) });
    }

    /// What is remembered. Each change is one insert.
    fn lock(&self) -> MutexGuard<'_, HashMap<Service, Newest>> {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Applies an event, together with all others that wait for the same turn.
    async fn apply(&self, service: Service, event: Waiting) -> Result<Answer, StoreUnavailable> {
        let (answer, mut answered) = oneshot::channel();
        self.waiting().entry(service).or_default().push((event, answer));
        let _turn = self.turns[turn(service)].lock().await;
        if let Ok(answer) = answered.try_recv() {
            return answer;
        }
        let waiting = self.waiting().remove(&service).unwrap_or_default();
        // What nobody waits for any more is not to happen at some later time.
        let waiting = waiting.into_iter().filter(|(_, caller)| !caller.is_closed());
        let (events, callers): (Vec<Waiting>, Vec<Caller>) = waiting.unzip();
        let answers = self.apply_all(service, &events).await;
        for (place, caller) in callers.into_iter().enumerate() {
            // A caller that went away needs no answer.
            let _ = caller.send(answers.as_ref().map(|answers| answers[place]).map_err(Clone::clone));
        }
        // Ours is among them, unless who was to bring it went away.
        answered.try_recv().unwrap_or_else(|_| Err(StoreUnavailable("the change was given up".to_owned())))
    }

    async fn apply_all(&self, service: Service, events: &[Waiting]) -> Result<Vec<Answer>, StoreUnavailable> {
        let now = self.redis.time_ms().await?;
        // Most likely nobody else has changed it.
        let mut current = self.newest(service, now).map(|newest| newest.text);
        for _ in 0..ATTEMPTS {
            let now = self.redis.time_ms().await?;
            let before = current.as_deref().and_then(|text| self.read(service, text, now));
            let Applied { circuit, answers, changed } = applied(before.as_ref(), events, now);
            // Later than what it replaces, also if that server knows the time better.
            let written = Written { circuit, at: before.as_ref().map_or(now, |before| now.max(before.at + 1)) };
            let new = changed.then(|| CircuitValue {
                text: written.seal(&self.keys, service),
                life_ms: written.circuit.ends.saturating_sub(now),
                listing: listing(before.as_ref(), &written, events),
            });
            match self.redis.swap_circuit(service, current.as_deref(), new.as_ref()).await? {
                Swapped::Done => {
                    if let Some(new) = new {
                        self.remember(service, &new.text, written.at, now);
                    }
                    return Ok(answers);
                }
                Swapped::Found(found) => current = found,
            }
        }
        Err(StoreUnavailable("the circuit keeps changing".to_owned()))
    }

    /// The events that wait. Each change is one insert or removal.
    fn waiting(&self) -> MutexGuard<'_, HashMap<Service, Vec<(Waiting, Caller)>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn peek(&self, services: &[Service]) -> Result<Vec<Option<Snapshot>>, StoreUnavailable> {
        if services.is_empty() {
            return Ok(Vec::new());
        }
        let values = self.redis.circuit_values(services).await?;
        let now = self.redis.time_ms().await?;
        let look = |(&service, value): (&Service, Option<String>)| {
            let circuit = self.read(service, &value?, now)?.circuit;
            (now < circuit.ends).then(|| circuit.snapshot(now))
        };
        Ok(services.iter().zip(values).map(look).collect())
    }
}

/// The turn of a service: any number that is the same each time.
fn turn(service: Service) -> usize {
    let bytes = match service {
        Service::Upstream(_, digest) => digest,
        Service::Agent(agent) => agent.as_uuid().into_bytes(),
        Service::Replica(replica) => replica.as_uuid().into_bytes(),
    };
    // The end of a UUIDv7 is random.
    usize::from(bytes[15]) % TURNS
}

#[async_trait]
impl CircuitStore for RedisCircuitStore {
    async fn apply(&self, service: Service, seen: u64, event: Event, policy: &Policy) -> Result<Answer, StoreUnavailable> {
        self.0.apply(service, Waiting { seen, event, policy: *policy }).await
    }

    async fn peek(&self, services: &[Service], _: &Policy) -> Result<Vec<Option<Snapshot>>, StoreUnavailable> {
        self.0.peek(services).await
    }

    /// What nobody called any more was forgotten, and what no server wrote is ignored: both are taken off the list, and the list is read
    /// again.
    async fn not_closed(&self, after: Option<Service>, limit: usize) -> Result<Vec<Service>, StoreUnavailable> {
        for _ in 0..READS {
            let listed = self.0.redis.circuits(after, limit).await?;
            let circuits = self.0.peek(&listed).await?;
            let closed = |circuit: &Option<Snapshot>| circuit.is_none_or(|circuit| circuit.phase == Phase::Closed);
            let gone: Vec<Service> =
                listed.iter().zip(&circuits).filter(|(_, circuit)| closed(circuit)).map(|(&service, _)| service).collect();
            if gone.is_empty() {
                return Ok(listed);
            }
            self.0.redis.forget_circuits(&gone).await?;
        }
        Err(StoreUnavailable("the circuits keep changing".to_owned()))
    }
}
