//! An agent's messages in Postgres.

use crate::agent::history::{History, HistoryError};
use crate::domain::{AgentId, Message, TenantScope};
use crate::postgres::Database;

/// Stores an agent's messages in Postgres.
pub(super) struct StoredHistory {
    database: Database,
    scope: TenantScope,
    id: AgentId,
}

impl StoredHistory {
    pub(super) const fn new(database: Database, scope: TenantScope, id: AgentId) -> Self {
        Self { database, scope, id }
    }
}

impl History for StoredHistory {
    async fn save(&self, messages: Vec<Message>) -> Result<(), HistoryError> {
        let saved = self.database.messages(self.scope).save(self.id, &messages).await;
        saved.map_err(|error| HistoryError(Box::new(error)))
    }
}
