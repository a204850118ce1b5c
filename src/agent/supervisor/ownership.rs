//! Which server runs an agent, and what becomes of agents whose server failed, or was away for a while.

use std::time::Duration;

use uuid::Uuid;

use super::{AgentError, Place, Supervisor};
use crate::cache::MemoryCacheStore;
use crate::domain::{AgentId, AgentState, CacheKey, Principal, ReplicaId, TenantId};
use crate::postgres::{DatabaseError, OwnAgent};

/// How long it is remembered where an agent lives, and for how long after it was not there that is asked each time.
const REMEMBERED: Duration = Duration::from_secs(3);

/// What is remembered at most, in bytes: of some 2500 agents.
const CAPACITY: usize = 1024 * 1024;

/// Where an agent lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whereabouts {
    /// On this server.
    Here,
    /// On another server, as far as Postgres knows.
    Elsewhere(ReplicaId),
    /// Nowhere: it has ended.
    Nowhere,
}

impl Supervisor {
    /// Whether an agent lives here. Asks nobody.
    #[must_use]
    pub fn is_here(&self, principal: &Principal, id: AgentId) -> bool {
        self.find(principal.tenant(), id).is_some()
    }

    /// Where an agent lives. Asks nobody about one that lives here.
    ///
    /// # Errors
    /// [`AgentError`].
    pub async fn whereabouts(&self, principal: &Principal, id: AgentId) -> Result<Whereabouts, AgentError> {
        if self.is_here(principal, id) {
            return Ok(Whereabouts::Here);
        }
        let stored = self.0.database.agents(principal.scope).get(id).await?.ok_or(AgentError::NotFound)?;
        let whereabouts = match stored.agent.state {
            AgentState::Running if stored.replica == self.0.replica => Whereabouts::Here,
            AgentState::Running => Whereabouts::Elsewhere(stored.replica),
            AgentState::Stopped | AgentState::Exited | AgentState::Lost => Whereabouts::Nowhere,
        };
        match whereabouts {
            Whereabouts::Elsewhere(owner) => self.0.owners.remember(principal.tenant(), id, owner),
            Whereabouts::Here | Whereabouts::Nowhere => self.0.owners.forget(principal.tenant(), id),
        }
        Ok(whereabouts)
    }

    /// The other server on which an agent of the caller's tenant lived a moment ago, if that is remembered: it may have gone since.
    #[must_use]
    pub fn remembered_owner(&self, principal: &Principal, id: AgentId) -> Option<ReplicaId> {
        let owner = self.0.owners.find(principal.tenant(), id);
        count(if owner.is_some() { "near" } else { "miss" });
        owner
    }

    /// Forgets where an agent lived: it was not there, or its server did not answer.
    pub fn forget_owner(&self, principal: &Principal, id: AgentId) {
        count("stale");
        self.0.owners.forget(principal.tenant(), id);
    }

    /// Records that the other servers have deregistered this one. Returns whether that is new.
    #[must_use]
    pub fn deregistered(&self) -> bool {
        self.0.registration.set(false)
    }

    /// Whether this server is known to be deregistered, or not to have its agents back yet.
    #[must_use]
    pub fn is_deregistered(&self) -> bool {
        !self.0.registration.is_registered()
    }

    /// Waits until this server is known to be deregistered: a write that Postgres refuses may show it before a heartbeat does.
    pub async fn until_deregistered(&self) {
        self.0.registration.until(false).await;
    }

    /// Kills those agents of this server that were restarted or stopped elsewhere while they were lost. Reclaims the others if the server is
    /// registered. Returns whether none is lost any more.
    ///
    /// # Errors
    /// If Postgres fails.
    pub async fn reclaim(&self) -> Result<bool, DatabaseError> {
        let own = |(&id, place): (&AgentId, &Place)| OwnAgent { tenant: place.tenant, id, life: place.life };
        // An agent that is started from now on is not among them, and stays.
        let own: Vec<OwnAgent> = self.lock().iter().map(own).collect();
        let reclaimed = self.0.database.replicas().reclaim(self.0.replica, &own).await?;
        for own in &reclaimed.over {
            if let Some(place) = self.lock().get(&own.id).filter(|place| place.life == own.life) {
                place.over.cancel();
            }
        }
        if reclaimed.agents > 0 {
            tracing::info!(agents = reclaimed.agents, "agents that were lost with this server run on");
        }
        Ok(reclaimed.lost == 0)
    }

    /// Records that this server is registered again and has its agents back.
    pub fn registered_again(&self) {
        self.0.registration.set(true);
    }
}

/// On which other servers agents lived a moment ago, each as its own tenant asked. Nobody is let in by it: the server that is named
/// looks for itself whose agent it is.
pub(super) struct Owners(MemoryCacheStore);

impl Owners {
    pub(super) fn new() -> Self {
        Self(MemoryCacheStore::new(CAPACITY))
    }

    fn find(&self, tenant: TenantId, id: AgentId) -> Option<ReplicaId> {
        let owner = Uuid::from_slice(&self.0.find(&key(tenant, id))?).ok()?;
        Some(ReplicaId::from_uuid(owner))
    }

    fn remember(&self, tenant: TenantId, id: AgentId, owner: ReplicaId) {
        // What is remembered already ends in its own time.
        let _is_new = self.0.keep(&key(tenant, id), &owner.as_uuid().as_bytes().as_slice().into(), REMEMBERED);
    }

    /// Also what is being read at this moment is not remembered: it may be old.
    fn forget(&self, tenant: TenantId, id: AgentId) {
        self.0.quarantine(&key(tenant, id), REMEMBERED);
    }
}

fn key(tenant: TenantId, id: AgentId) -> CacheKey {
    CacheKey::new(tenant, "owner", &id)
}

fn count(outcome: &'static str) {
    metrics::counter!("agentapi_cache_requests_total", "kind" => "owner", "outcome" => outcome).increment(1);
}
