//! An agent's messages in Postgres.

use std::sync::Arc;

use super::inbox::Inbox;
use super::incarnation::{Incarnation, WriteRefused};
use crate::agent::acp::Entry;
use crate::agent::history::{History, HistoryError};
use crate::domain::Message;
use crate::postgres::{DatabaseError, Written};

/// Stores the messages of one life of an agent in Postgres, and the entries of its timeline.
#[derive(Clone)]
pub(super) struct StoredHistory {
    pub(super) incarnation: Incarnation,
    /// How messages were asked for.
    pub(super) inbox: Arc<Inbox>,
}

impl StoredHistory {
    async fn outcome(&self, saved: Result<Written, DatabaseError>) -> Result<(), HistoryError> {
        match saved.map_err(failed)? {
            Written::Stored => Ok(()),
            Written::LifeIsOver => Err(self.incarnation.refused().await.map_err(failed)?.into()),
            // An agent may say something before it is written that there is one.
            Written::NoAgent => Err(HistoryError::NotYet),
        }
    }
}

fn failed(error: DatabaseError) -> HistoryError {
    HistoryError::Failed(Box::new(error))
}

impl From<WriteRefused> for HistoryError {
    fn from(refused: WriteRefused) -> Self {
        match refused {
            WriteRefused::Suspended => Self::Suspended,
            WriteRefused::Momentarily => Self::Failed("this server was not registered at that moment".into()),
            WriteRefused::Over => Self::LifeIsOver,
        }
    }
}

impl History for StoredHistory {
    async fn save(&self, messages: Vec<Message>) -> Result<(), HistoryError> {
        let Incarnation { database, scope, id, life, .. } = &self.incarnation;
        self.incarnation.check()?;
        let asked = self.inbox.asked_for(&messages);
        self.outcome(database.messages(*scope).save(*id, *life, &messages, &asked).await).await?;
        self.inbox.stored(&messages);
        Ok(())
    }

    async fn resumed(&self) {
        self.incarnation.until_decided().await;
    }
}

impl History<Entry> for StoredHistory {
    async fn save(&self, entries: Vec<Entry>) -> Result<(), HistoryError> {
        let Incarnation { database, scope, id, life, .. } = &self.incarnation;
        self.incarnation.check()?;
        let approvals: Vec<_> =
            entries.iter().filter_map(|entry| entry.approval.as_ref()).map(|(asked, state)| (&**asked, *state)).collect();
        let entries: Vec<_> = entries.iter().map(|entry| &entry.entry).collect();
        self.outcome(database.timeline(*scope).save(*id, *life, &entries, &approvals).await).await
    }

    async fn resumed(&self) {
        self.incarnation.until_decided().await;
    }
}
