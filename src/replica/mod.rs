//! Servers that act as one: which of them live, where each is reached, and how one asks another.
//!
//! A server is written in Postgres, and holds a lease in Redis that it renews at every heartbeat, for all agents that it runs. Who
//! loses the lease for some heartbeats is taken for dead by the others: it is struck off the list in Postgres, and its agents are
//! lost. What it still tries to write is refused there, by the fence of each agent's life.

mod address;
mod forwarding;
mod grant;
mod membership;

pub use self::grant::{ForwardedCredential, ForwardingGrant, GrantRefused};
pub use self::membership::{Beat, Replicas, ReplicasParts};
