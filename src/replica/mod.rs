//! Servers that act as one: which of them live, where each is reached, and how one asks another.
//!
//! A server is registered in Postgres, and holds a lease in Redis, which it renews at every heartbeat, for all its agents. If the lease is
//! missing for some heartbeats and the server does not answer a health check either, another server deregisters it, and its agents are
//! lost. Postgres refuses its writes from then on, by the fencing token of each agent. Once it is back, it registers again and reclaims
//! those agents that no one restarted or stopped in the meantime.

mod address;
mod forwarding;
mod grant;
mod health;
mod known;
mod membership;

pub use self::grant::{ForwardedCredential, ForwardingGrant, GrantRefused};
pub use self::membership::{Beat, Replicas, ReplicasParts, Standing};
