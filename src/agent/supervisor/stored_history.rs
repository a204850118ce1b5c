//! An agent's messages in Postgres.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::inbox::Inbox;
use crate::agent::acp::Entry;
use crate::agent::history::{History, HistoryError};
use crate::domain::{AgentId, Fence, Message, TenantScope};
use crate::postgres::{Database, DatabaseError, Written};

/// Stores the messages of one life of an agent in Postgres, and the entries of its timeline.
#[derive(Clone)]
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

impl StoredHistory {
    fn outcome(&self, saved: Result<Written, DatabaseError>) -> Result<(), HistoryError> {
        match saved.map_err(|error| HistoryError::Failed(Box::new(error)))? {
            Written::Stored => Ok(()),
            Written::LifeIsOver => {
                self.over.cancel();
                Err(HistoryError::LifeIsOver)
            }
            // An agent may say something before it is written that there is one.
            Written::NoAgent => Err(HistoryError::NotYet),
        }
    }
}

impl History for StoredHistory {
    async fn save(&self, messages: Vec<Message>) -> Result<(), HistoryError> {
        let asked = self.inbox.asked_for(&messages);
        self.outcome(self.database.messages(self.scope).save(self.id, self.life, &messages, &asked).await)?;
        self.inbox.stored(&messages);
        Ok(())
    }
}

impl History<Entry> for StoredHistory {
    async fn save(&self, entries: Vec<Entry>) -> Result<(), HistoryError> {
        let approvals: Vec<_> =
            entries.iter().filter_map(|entry| entry.approval.as_ref()).map(|(asked, state)| (&**asked, *state)).collect();
        let entries: Vec<_> = entries.iter().map(|entry| &entry.entry).collect();
        self.outcome(self.database.timeline(self.scope).save(self.id, self.life, &entries, &approvals).await)
    }
}
