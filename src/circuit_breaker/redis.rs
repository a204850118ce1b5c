//! Circuits in Redis, for all replicas together.

use async_trait::async_trait;
use rand::Rng;

use super::machine::MAX_PROBES;
use super::{Answer, CircuitStore, Event, JITTER, Phase, Policy, Snapshot};
use crate::domain::{Service, StoreUnavailable};
use crate::redis::{CircuitCall, CircuitReply, Redis};

/// How often the list of circuits is read at most until all that it names are there.
const READS: usize = 10;

/// Keeps circuits under `circuit:{service}`.
#[derive(Debug, Clone)]
pub struct RedisCircuitStore(Redis);

impl RedisCircuitStore {
    /// Keeps them in `redis`.
    #[must_use]
    pub const fn new(redis: Redis) -> Self {
        Self(redis)
    }

    async fn look(&self, service: Service, policy: &Policy) -> Result<Snapshot, StoreUnavailable> {
        Ok(self.apply(service, 0, Event::Peek, policy).await?.circuit)
    }
}

fn call(seen: u64, event: Event, policy: &Policy) -> CircuitCall {
    let (operation, operands) = match event {
        Event::Peek => ("peek", [0, 0]),
        Event::Acquire(lease, ms) => ("acquire", [lease, ms]),
        Event::Calls { healed, failures } => ("calls", [u64::from(healed), u64::from(failures)]),
        Event::ProbeSucceeded(lease) => ("probe_succeeded", [lease, 0]),
        Event::ProbeFailed(lease) => ("probe_failed", [lease, 0]),
        Event::ProbeDropped(lease) => ("probe_dropped", [lease, 0]),
        Event::Reset => ("reset", [0, 0]),
    };
    CircuitCall {
        operation,
        seen,
        failure_threshold: policy.failure_threshold,
        success_threshold: policy.success_threshold,
        open_ms: policy.open_ms,
        jitter: rand::rng().random_range(0..=JITTER),
        life_ms: policy.life_ms(),
        max_probes: MAX_PROBES,
        operands,
    }
}

fn snapshot(reply: &CircuitReply) -> Result<Snapshot, StoreUnavailable> {
    let phase = match reply.phase {
        0 => Phase::Closed,
        1 => Phase::Open,
        2 => Phase::HalfOpen,
        _ => return Err(StoreUnavailable("an answer that makes no sense".to_owned())),
    };
    let CircuitReply { generation, failures, successes, opens, wait_ms, .. } = *reply;
    Ok(Snapshot { phase, generation, failures, successes, opens, wait_ms })
}

#[async_trait]
impl CircuitStore for RedisCircuitStore {
    async fn apply(&self, service: Service, seen: u64, event: Event, policy: &Policy) -> Result<Answer, StoreUnavailable> {
        let reply = self.0.circuit(service, &call(seen, event, policy)).await?;
        Ok(Answer { admitted: reply.admitted, circuit: snapshot(&reply)? })
    }

    /// One command if all are closed, and the script for each that is not.
    async fn peek(&self, services: &[Service], policy: &Policy) -> Result<Vec<Option<Snapshot>>, StoreUnavailable> {
        let values = self.0.circuit_values(services).await?;
        let looks = services.iter().zip(values).map(async |(&service, value)| match value {
            None => Ok(None),
            Some((true, generation, failures)) => {
                Ok(Some(Snapshot { phase: Phase::Closed, generation, failures, successes: 0, opens: 0, wait_ms: 0 }))
            }
            Some((false, ..)) => self.look(service, policy).await.map(Some),
        });
        futures_util::future::try_join_all(looks).await
    }

    /// What nobody called any more was forgotten: it is taken off the list, and the list is read again.
    async fn not_closed(&self, after: Option<Service>, limit: usize) -> Result<Vec<Service>, StoreUnavailable> {
        for _ in 0..READS {
            let listed = self.0.circuits(after, limit).await?;
            let values = self.0.circuit_values(&listed).await?;
            let closed = |value: &Option<(bool, u64, u32)>| value.is_none_or(|(closed, ..)| closed);
            let gone: Vec<Service> =
                listed.iter().zip(&values).filter(|(_, value)| closed(value)).map(|(&service, _)| service).collect();
            if gone.is_empty() {
                return Ok(listed);
            }
            self.0.forget_circuits(&gone).await?;
        }
        Err(StoreUnavailable("the circuits keep changing".to_owned()))
    }
}
