//! Circuit breakers around calls to other services: while a service fails, calls to it fail at once.
//!
//! The specification's flow, shared by all replicas: failures in a row open a circuit, an open one refuses calls for some time,
//! then a few calls try whether the service is well, and their successes close it. `docs/CIRCUIT_BREAKERS.md` tells it from outside.
//!
//! ```text
//! layer (around a client) -> breakers (may this call pass? what came of it?) -> view (what this process knows: decides alone)
//!                                                                            -> store (what all know: told of failures only)
//! ```

mod batch;
mod breakers;
mod layer;
mod machine;
mod memory;
mod permit;
mod redis;
mod sealed;
mod sharing;
mod store;
mod view;

pub use self::breakers::{CircuitBreakers, KnownCircuit, Refusal};
pub use self::layer::{CircuitBreakerLayer, CircuitBreakerService, Guarded, Streamed};
pub use self::machine::{Circuit, Event, Lease, MAX_LEASE, MAX_PROBES, Phase, Policy, Snapshot};
pub use self::memory::MemoryCircuitStore;
pub use self::permit::{Outcome, Permit, SuccessfulProbe};
pub use self::redis::RedisCircuitStore;
pub use self::store::{Answer, CircuitStore};

/// A circuit that opens is open up to so many thousandths longer than by the policy, so that not all are probed at once.
const JITTER: u32 = 100;
