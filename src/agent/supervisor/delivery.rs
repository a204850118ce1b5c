//! Gives an agent what waits in its queue, one message each time it is idle.

use std::sync::Arc;
use std::time::Duration;

use super::inbox::Inbox;
use super::saying::give;
use super::{AgentError, Supervisor};
use crate::agent::live::{LiveAgent, SendError};
use crate::domain::{AgentId, Asked, Fence, QueuedId, TenantScope};
use crate::postgres::{DatabaseError, QueuedMessage};

/// Waits between attempts while Postgres or a remote agent is away: the first, and the longest.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// What delivers to one life of an agent.
pub(super) struct Delivery {
    pub(super) supervisor: Supervisor,
    pub(super) scope: TenantScope,
    pub(super) id: AgentId,
    pub(super) life: Fence,
    pub(super) live: LiveAgent,
    pub(super) inbox: Arc<Inbox>,
}

impl Delivery {
    /// Delivers until the agent ends. Costs nothing while nothing waits.
    pub(super) async fn run(self) {
        // Accepted in this order. What was given to this life is not given again, though it may still be written to wait.
        let mut given = None;
        let (mut wait, longest) = BACK_OFF;
        loop {
            self.supervisor.0.registration.until(true).await;
            match self.next(given).await {
                Ok(Some(message)) => match self.deliver(&message).await {
                    Ok(true) => given = Some(message.id),
                    // It turned busy; a remote agent may take a moment to say so.
                    Ok(false) => {
                        tokio::time::sleep(wait).await;
                        wait = (wait * 2).min(longest);
                        continue;
                    }
                    Err(error @ (AgentError::Database(_) | AgentError::Send(_))) => {
                        tracing::warn!(agent.id = %self.id, %error, "a queued message cannot be delivered now");
                        tokio::time::sleep(wait).await;
                        wait = (wait * 2).min(longest);
                        continue;
                    }
                    // The agent has ended: what waits, waits for its next life.
                    Err(_) => return,
                },
                Ok(None) => self.inbox.queued.notified().await,
                Err(error) => {
                    tracing::warn!(agent.id = %self.id, %error, "the queue cannot be read now");
                    tokio::time::sleep(wait).await;
                    wait = (wait * 2).min(longest);
                    continue;
                }
            }
            wait = BACK_OFF.0;
        }
    }

    async fn next(&self, after: Option<QueuedId>) -> Result<Option<QueuedMessage>, DatabaseError> {
        self.supervisor.0.database.queued_messages(self.scope).first(self.id, after).await
    }

    /// Gives the agent a message once it is idle. Returns whether it has had its turn: it was taken, it failed, or it is gone.
    async fn deliver(&self, message: &QueuedMessage) -> Result<bool, AgentError> {
        let queue = self.supervisor.0.database.queued_messages(self.scope);
        if !self.live.until_idle().await {
            return Err(AgentError::NotRunning);
        }
        // While the server is not registered, the agent may belong to another one, which delivers the queue.
        self.supervisor.0.registration.until(true).await;
        if !queue.claim(self.id, message.id, self.life).await? {
            return Ok(true);
        }
        let asked = Asked { request: message.request.clone(), queued: Some(message.id) };
        match give(&self.live, &self.inbox, &message.content, &asked).await {
            Ok(()) => Ok(true),
            Err(AgentError::Send(SendError::Busy | SendError::Asks)) => {
                queue.release(self.id, message.id).await?;
                Ok(false)
            }
            Err(AgentError::Send(SendError::Ended)) => Err(AgentError::NotRunning),
            // It waits on, as for an agent that is busy.
            Err(AgentError::Send(SendError::Remote(error))) if error.is_unsent() => {
                queue.release(self.id, message.id).await?;
                Err(SendError::Remote(error).into())
            }
            Err(error) => {
                tracing::warn!(agent.id = %self.id, %error, "an agent did not take a queued message");
                queue.fail(self.id, message.id).await?;
                Ok(true)
            }
        }
    }
}
