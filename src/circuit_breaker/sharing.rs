//! What this process tells the store of circuits, and what it learns from it.

use std::sync::Arc;
use std::time::Duration;

use rand::Rng;
use tokio::sync::oneshot;

use super::breakers::{Entry, Inner};
use super::machine::millis;
use super::view::{ASK_AGAIN_MS, Pending};
use super::{Answer, Event, JITTER, MAX_LEASE, Permit, Phase, Refusal};
use crate::domain::{Service, StoreUnavailable};

/// Services looked at in one go.
const PEEK_BATCH: usize = 256;

impl Inner {
    pub(super) fn succeeded(self: &Arc<Self>, entry: &Arc<Entry>, generation: u64) {
        let now = self.now();
        if entry.lock().succeeded(generation, self.policy(entry.service), now) {
            self.report(entry);
        }
    }

    pub(super) fn failed(self: &Arc<Self>, entry: &Arc<Entry>, generation: u64) {
        let jitter = jitter();
        if self.change(entry, |view, now| view.failed(generation, self.policy(entry.service), jitter, now)) {
            self.report(entry);
        }
    }

    /// Tells the store what it does not know yet. One report a service is under way at a time; what comes meanwhile goes together.
    fn report(self: &Arc<Self>, entry: &Arc<Entry>) {
        if std::mem::replace(&mut entry.lock().reporting, true) {
            return;
        }
        let (inner, entry) = (self.clone(), entry.clone());
        self.tasks.spawn(async move {
            while let Some(pending) = next_report(&entry) {
                let told = inner.apply(&entry, pending.generation, pending.event()).await;
                inner.learn(&entry, told.as_ref().ok());
            }
        });
    }

    /// Asks for leave to probe, in a task of its own: if whoever wanted it has gone meanwhile, its place is given back.
    pub(super) async fn ask(self: &Arc<Self>, entry: Arc<Entry>, seen: u64, longest: Duration) -> Result<Permit, Refusal> {
        let (sender, receiver) = oneshot::channel();
        let inner = self.clone();
        self.tasks.spawn(async move {
            let answer = inner.acquire(&entry, seen, longest).await;
            // Nobody waits: a permit that is dropped gives its place back.
            drop(sender.send(answer));
        });
        receiver.await.unwrap_or(Err(Refusal::Open(Duration::from_secs(1))))
    }

    async fn acquire(self: &Arc<Self>, entry: &Arc<Entry>, seen: u64, longest: Duration) -> Result<Permit, Refusal> {
        let lease = rand::rng().random();
        let event = Event::Acquire(lease, millis(longest.min(MAX_LEASE)));
        let (told, policy) = (self.apply(entry, seen, event).await, self.policy(entry.service));
        let (admitted, circuit) = self.change(entry, |view, now| {
            view.asking = false;
            let admitted = match &told {
                Ok(Answer { admitted, circuit }) => {
                    view.adopt(circuit, policy, now);
                    *admitted
                }
                Err(_) => {
                    view.detach();
                    let seen = view.circuit.generation;
                    view.apply(seen, event, policy, 0, now)
                }
            };
            let circuit = view.circuit.snapshot(now);
            if !admitted {
                view.refused_probe(circuit.wait_ms, now);
            }
            (admitted, circuit)
        });
        if !admitted {
            // Probes are likely to be over long before their places are free anyway.
            let wait = if circuit.phase == Phase::Open { circuit.wait_ms } else { circuit.wait_ms.min(ASK_AGAIN_MS) };
            return Err(Refusal::Open(Duration::from_millis(wait)));
        }
        let probe = (circuit.phase == Phase::HalfOpen).then_some(lease);
        if probe.is_some() {
            metrics::counter!("agentapi_circuit_probes_total", "kind" => entry.service.kind()).increment(1);
        }
        Ok(self.permit(entry.clone(), circuit.generation, probe))
    }

    /// Tells what came of a probe. Goes on also if it is not waited for.
    pub(super) fn probed(
        self: &Arc<Self>,
        entry: &Arc<Entry>,
        generation: u64,
        event: Event,
    ) -> impl Future<Output = ()> + use<> {
        let (inner, entry, jitter) = (self.clone(), entry.clone(), jitter());
        if matches!(event, Event::ProbeFailed(_)) {
            // Here it is open at once.
            self.change(&entry, |view, now| view.apply(generation, event, self.policy(entry.service), jitter, now));
        }
        let told = self.tasks.spawn(async move {
            let (told, policy) = (inner.apply(&entry, generation, event).await, inner.policy(entry.service));
            inner.change(&entry, |view, now| match &told {
                Ok(answer) => view.adopt(&answer.circuit, policy, now),
                Err(_) => {
                    view.detach();
                    // If it opened here already, this is of an older generation.
                    view.apply(generation, event, policy, jitter, now);
                }
            });
        });
        async move {
            // It ends only by itself.
            let _ = told.await;
        }
    }

    /// Closes a circuit: at once in this process, and in the background in the store.
    pub(super) fn close(self: &Arc<Self>, entry: &Arc<Entry>) {
        let policy = self.policy(entry.service);
        let seen = self.change(entry, |view, now| {
            let seen = view.circuit.generation;
            view.apply(seen, Event::Reset, policy, 0, now);
            seen
        });
        let (inner, entry) = (self.clone(), entry.clone());
        self.tasks.spawn(async move {
            let told = inner.apply(&entry, seen, Event::Reset).await;
            inner.learn(&entry, told.as_ref().ok());
        });
    }

    /// Takes over what the store said, if it said something.
    fn learn(&self, entry: &Entry, told: Option<&Answer>) {
        self.change(entry, |view, now| match told {
            Some(answer) => view.adopt(&answer.circuit, self.policy(entry.service), now),
            None => view.detach(),
        });
    }

    async fn apply(&self, entry: &Entry, seen: u64, event: Event) -> Result<Answer, StoreUnavailable> {
        note(self.store.apply(entry.service, seen, event, self.policy(entry.service)).await)
    }

    /// Looks in the background what others learnt of the services in use, if it is time to.
    pub(super) fn peek_if_due(self: &Arc<Self>, now: u64) {
        let Some(interval) = self.peek_interval else { return };
        let mut rounds = self.rounds();
        let since = rounds.peeked;
        if rounds.peeking || since.is_some_and(|peeked| now < peeked + millis(interval)) {
            return;
        }
        (rounds.peeked, rounds.peeking) = (Some(now), true);
        drop(rounds);
        let inner = self.clone();
        self.tasks.spawn(async move {
            inner.peek(since.unwrap_or(0)).await;
            inner.rounds().peeking = false;
        });
    }

    async fn peek(&self, since: u64) {
        let used = |entry: &&Arc<Entry>| entry.lock().used >= since;
        let entries: Vec<Arc<Entry>> = self.entries().values().filter(used).cloned().collect();
        for batch in entries.chunks(PEEK_BATCH) {
            let known: Vec<u64> = batch.iter().map(|entry| entry.lock().revision).collect();
            let services: Vec<Service> = batch.iter().map(|entry| entry.service).collect();
            let Ok(told) = note(self.store.peek(&services, self.policy_for_reads()).await) else { return };
            for ((entry, revision), circuit) in batch.iter().zip(known).zip(told) {
                let Some(circuit) = circuit else { continue };
                self.change(entry, |view, now| {
                    // What was learnt meanwhile is newer.
                    if view.revision == revision {
                        view.adopt_newer(&circuit, self.policy(entry.service), now);
                    }
                });
            }
        }
    }
}

/// What the store is to be told next; if nothing, reporting ends in the same step.
fn next_report(entry: &Entry) -> Option<Pending> {
    let mut view = entry.lock();
    let pending = view.take_pending();
    view.reporting = pending.is_some();
    pending
}

/// Counts what the store failed to do, and whether circuits are shared at present.
pub(super) fn note<T>(told: Result<T, StoreUnavailable>) -> Result<T, StoreUnavailable> {
    metrics::gauge!("agentapi_circuit_shared").set(if told.is_ok() { 1.0 } else { 0.0 });
    told.inspect_err(|error| {
        metrics::counter!("agentapi_circuit_store_errors_total").increment(1);
        tracing::debug!(%error, "circuits are this process' alone");
    })
}

fn jitter() -> u32 {
    rand::rng().random_range(0..=JITTER)
}
