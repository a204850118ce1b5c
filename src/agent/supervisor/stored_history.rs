//! An agent's messages in Postgres.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::inbox::Inbox;
use crate::agent::history::{History, HistoryError};
use crate::domain::{AgentId, Fence, Message, TenantScope};
use crate::postgres::{Database, Written};

/// Stores the messages of one life of an agent in Postgres.
pub(super) struct StoredHistory {
    pub(super) database: Database,
    pub(super) scope: TenantScope,
    pub(super) id: AgentId,
    pub(super) life: Fence,
    /// Told once Postgres says that this life is over.
    pub(super) over: CancellationToken,
    /// How messages were asked for.
    pub(super) inbox: Arc<Inbox>,
}

impl History for StoredHistory {
    async fn save(&self, messages: Vec<Message>) -> Result<(), HistoryError> {
        let asked = self.inbox.asked_for(&messages);
        let saved = self.database.messages(self.scope).save(self.id, self.life, &messages, &asked).await;
        match saved.map_err(|error| HistoryError::Failed(Box::new(error)))? {
            Written::Stored => {
                self.inbox.stored(&messages);
                Ok(())
            }
            Written::LifeIsOver => {
                self.over.cancel();
                Err(HistoryError::LifeIsOver)
            }
            // An agent may say something before it is written that there is one.
            Written::NoAgent => Err(HistoryError::NotYet),
        }
    }
}
