//! Which server runs an agent, and what becomes of agents whose server died.

use super::{AgentError, Supervisor};
use crate::domain::{AgentId, AgentState, Principal, ReplicaId};
use crate::postgres::{DatabaseError, OwnAgent};

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
    /// Where an agent lives. Asks nobody about one that lives here.
    ///
    /// # Errors
    /// [`AgentError`].
    pub async fn whereabouts(&self, principal: &Principal, id: AgentId) -> Result<Whereabouts, AgentError> {
        if self.find(principal.tenant(), id).is_some() {
            return Ok(Whereabouts::Here);
        }
        // Boxed: room for a query would else be moved about in memory by every request that needs none.
        let stored = Box::pin(self.0.database.agents(principal.scope).get(id)).await?.ok_or(AgentError::NotFound)?;
        Ok(match stored.agent.state {
            AgentState::Running if stored.replica == self.0.replica => Whereabouts::Here,
            AgentState::Running => Whereabouts::Elsewhere(stored.replica),
            AgentState::Stopped | AgentState::Exited | AgentState::Lost => Whereabouts::Nowhere,
        })
    }

    /// Kills agents that live here and are this server's no more: it was taken for dead. Nothing more is written of them.
    ///
    /// # Errors
    /// If Postgres fails.
    pub async fn give_up_lost(&self) -> Result<(), DatabaseError> {
        // In this order: what begins to live in between is in neither list, and stays.
        let living: Vec<OwnAgent> = self.lock().iter().map(|(&id, place)| OwnAgent { id, life: place.life }).collect();
        let running = self.0.database.replicas().running(self.0.replica).await?;
        for own in living.iter().filter(|own| !running.contains(own)) {
            if let Some(place) = self.lock().get(&own.id).filter(|place| place.life == own.life) {
                place.over.cancel();
            }
        }
        Ok(())
    }
}
