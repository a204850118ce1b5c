//! Circuits in the process: for one server alone.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use rand::Rng;
use tokio::time::Instant;

use super::machine::millis;
use super::{Answer, Circuit, CircuitStore, Event, JITTER, Phase, Policy, Snapshot};
use crate::domain::{Service, StoreUnavailable};

/// Circuits kept at most: some 2 MB. Beyond it what ends first is forgotten.
const CAPACITY: usize = 10_000;

/// Keeps circuits in a map.
#[derive(Debug)]
pub struct MemoryCircuitStore {
    /// Beginning of its time.
    start: Instant,
    circuits: Mutex<BTreeMap<Service, Circuit>>,
}

impl Default for MemoryCircuitStore {
    fn default() -> Self {
        Self { start: Instant::now(), circuits: Mutex::default() }
    }
}

impl MemoryCircuitStore {
    fn now(&self) -> u64 {
        millis(self.start.elapsed())
    }

    /// The circuits. Each change is one insertion, so a panic elsewhere cannot have left it half-made.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Service, Circuit>> {
        self.circuits.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn keep(circuits: &mut BTreeMap<Service, Circuit>, service: Service, circuit: Circuit, now: u64) {
    if circuits.len() >= CAPACITY && !circuits.contains_key(&service) {
        circuits.retain(|_, circuit| now < circuit.ends);
        let first = circuits.iter().min_by_key(|(_, circuit)| circuit.ends).map(|(&service, _)| service);
        if let Some(first) = first.filter(|_| circuits.len() >= CAPACITY) {
            circuits.remove(&first);
        }
    }
    circuits.insert(service, circuit);
}

#[async_trait]
impl CircuitStore for MemoryCircuitStore {
    async fn apply(&self, service: Service, seen: u64, event: Event, policy: &Policy) -> Result<Answer, StoreUnavailable> {
        let (now, jitter) = (self.now(), rand::rng().random_range(0..=JITTER));
        let mut circuits = self.lock();
        let (circuit, changed, admitted) = Circuit::apply(circuits.get(&service), seen, event, policy, jitter, now);
        let answer = Answer { admitted, circuit: circuit.snapshot(now) };
        if changed {
            keep(&mut circuits, service, circuit, now);
        }
        Ok(answer)
    }

    async fn peek(&self, services: &[Service], _: &Policy) -> Result<Vec<Option<Snapshot>>, StoreUnavailable> {
        let (now, circuits) = (self.now(), self.lock());
        let look = |service| circuits.get(service).filter(|circuit| now < circuit.ends).map(|circuit| circuit.snapshot(now));
        Ok(services.iter().map(look).collect())
    }

    async fn not_closed(&self, after: Option<Service>, limit: usize) -> Result<Vec<Service>, StoreUnavailable> {
        let (now, circuits) = (self.now(), self.lock());
        let mut services: Vec<(String, Service)> = circuits
            .iter()
            .filter(|(_, circuit)| circuit.phase != Phase::Closed && now < circuit.ends)
            .map(|(service, _)| (service.to_string(), *service))
            .collect();
        services.sort_unstable();
        let after = after.map(|after| after.to_string());
        let rest = services.into_iter().filter(|(text, _)| after.as_ref().is_none_or(|after| text > after));
        Ok(rest.take(limit).map(|(_, service)| service).collect())
    }
}
