//! One incarnation of an agent, and whether it still belongs to this server.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::registration::Registration;
use crate::agent::live::Ended;
use crate::domain::{AgentId, AgentState, Fence, ReplicaId, TenantScope};
use crate::postgres::{Database, DatabaseError};

/// Pauses between attempts to store that an agent has ended, while Postgres is away: the first, and the longest.
const WRITE_BACK_OFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// An incarnation of an agent that runs on this server. Cheap to clone.
#[derive(Clone)]
pub(super) struct Incarnation {
    pub(super) database: Database,
    pub(super) scope: TenantScope,
    pub(super) id: AgentId,
    pub(super) life: Fence,
    /// This server.
    pub(super) replica: ReplicaId,
    /// Cancelled once the incarnation is known to be over: the agent was restarted, or stopped while it was lost.
    pub(super) over: CancellationToken,
    pub(super) registration: Registration,
}

/// Reason why Postgres stored nothing for an incarnation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WriteRefused {
    /// The server is not registered, and may get the agent back: wait for [`Incarnation::until_decided`].
    Suspended,
    /// The server was not registered when it tried, and has the agent back.
    Momentarily,
    /// The incarnation is over.
    Over,
}

impl Incarnation {
    /// Checks whether an attempt to write can succeed.
    pub(super) fn check(&self) -> Result<(), WriteRefused> {
        if self.over.is_cancelled() {
            Err(WriteRefused::Over)
        } else if self.registration.is_registered() {
            Ok(())
        } else {
            Err(WriteRefused::Suspended)
        }
    }

    /// Finds out why Postgres stored nothing.
    ///
    /// # Errors
    /// If Postgres fails.
    pub(super) async fn refused(&self) -> Result<WriteRefused, DatabaseError> {
        let stored = self.database.agents(self.scope).get(self.id).await?;
        let own = stored.filter(|stored| stored.life == self.life && stored.replica == self.replica);
        Ok(match own.map(|stored| stored.agent.state) {
            Some(AgentState::Lost) => {
                self.registration.set(false);
                WriteRefused::Suspended
            }
            Some(AgentState::Running) => WriteRefused::Momentarily,
            Some(AgentState::Stopped | AgentState::Exited) | None => {
                self.over.cancel();
                WriteRefused::Over
            }
        })
    }

    /// Stores that the incarnation has ended, retrying while Postgres is away. Does nothing if it was over before.
    pub(super) async fn write_end(&self, ended: Ended, stopping: &CancellationToken) {
        let (mut wait, longest) = WRITE_BACK_OFF;
        loop {
            match self.try_write_end(ended).await {
                Ok(()) | Err(Some(WriteRefused::Over)) => return,
                Err(Some(WriteRefused::Suspended)) => self.until_decided().await,
                // The next start of the server marks the agent as lost.
                Err(None) if stopping.is_cancelled() => return,
                Err(Some(WriteRefused::Momentarily) | None) => {
                    tokio::time::sleep(wait).await;
                    wait = (wait * 2).min(longest);
                }
            }
        }
    }

    /// The error is why Postgres did not store it, or nothing if Postgres failed.
    async fn try_write_end(&self, ended: Ended) -> Result<(), Option<WriteRefused>> {
        let unknown = |error: DatabaseError| {
            let Self { scope, id, .. } = self;
            tracing::warn!(tenant.id = %scope.tenant(), agent.id = %id, %error, "cannot write that the agent has ended");
            None
        };
        let agents = self.database.agents(self.scope);
        if agents.end(self.id, self.life, ended.state(), ended.exit_code).await.map_err(unknown)? {
            return Ok(());
        }
        Err(Some(self.refused().await.map_err(unknown)?))
    }

    /// Waits until it is known whether the incarnation still belongs to this server.
    pub(super) async fn until_decided(&self) {
        tokio::select! {
            () = self.over.cancelled() => {}
            () = self.registration.until(true) => {}
        }
    }
}
