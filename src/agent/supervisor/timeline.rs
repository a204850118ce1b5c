//! What agents did, as it is written, and as it happens.

use std::collections::VecDeque;

use super::{AgentError, Supervisor};
use crate::agent::history::Saved;
use crate::domain::{AgentId, EventId, Principal, TenantScope, TimelineEntry};
use crate::postgres::{Database, DatabaseError};

/// Entries that are read at once for somebody who watches.
const BATCH: u16 = 50;

impl Supervisor {
    /// At most `limit` entries of an agent's timeline after the one with the id `after`, in order.
    ///
    /// # Errors
    /// [`AgentError`].
    pub async fn timeline(
        &self,
        principal: &Principal,
        id: AgentId,
        after: Option<i64>,
        limit: u16,
    ) -> Result<Vec<TimelineEntry>, AgentError> {
        self.get(principal, id).await?;
        Ok(self.0.database.timeline(principal.scope).list(id, after, limit).await?)
    }

    /// What is new in an agent's timeline, or has changed, after the event `seen`, or from its beginning; and all that happens from now
    /// on, if the agent lives.
    ///
    /// # Errors
    /// [`AgentError`].
    pub async fn watch_timeline(
        &self,
        principal: &Principal,
        id: AgentId,
        seen: Option<EventId>,
    ) -> Result<TimelineWatch, AgentError> {
        self.get(principal, id).await?;
        let stored = self.find(principal.tenant(), id).and_then(|live| live.timeline());
        let seen = seen.unwrap_or(EventId::from_i64(0));
        let database = self.0.database.clone();
        Ok(TimelineWatch { database, scope: principal.scope, id, seen, stored, waiting: VecDeque::new() })
    }
}

/// Reads a timeline as it is written. Nothing is kept for one that is slow: it finds fewer and newer entries.
#[derive(Debug)]
pub struct TimelineWatch {
    database: Database,
    scope: TenantScope,
    id: AgentId,
    /// Everything up to this event was read.
    seen: EventId,
    /// Tells that more is stored; nothing once no more will be.
    stored: Option<Saved>,
    waiting: VecDeque<TimelineEntry>,
}

impl TimelineWatch {
    /// Whether the agent has ended and everything was read. Waits for nothing.
    ///
    /// # Errors
    /// If Postgres fails.
    pub async fn is_over(&mut self) -> Result<bool, DatabaseError> {
        if self.stored.is_some() {
            return Ok(false);
        }
        if self.waiting.is_empty() {
            self.read().await?;
        }
        Ok(self.waiting.is_empty())
    }

    /// Waits for the next entry; nothing once the agent has ended and everything was read.
    ///
    /// # Errors
    /// If Postgres fails.
    pub async fn next(&mut self) -> Result<Option<TimelineEntry>, DatabaseError> {
        loop {
            if let Some(entry) = self.waiting.pop_front() {
                return Ok(Some(entry));
            }
            if let Some(stored) = &mut self.stored {
                stored.mark_unchanged();
            }
            self.read().await?;
            if !self.waiting.is_empty() {
                continue;
            }
            match &mut self.stored {
                Some(stored) => {
                    if stored.changed().await.is_err() {
                        // What was stored last is read once more.
                        self.stored = None;
                    }
                }
                None => return Ok(None),
            }
        }
    }

    async fn read(&mut self) -> Result<(), DatabaseError> {
        self.waiting = self.database.timeline(self.scope).since(self.id, self.seen, BATCH).await?.into();
        if let Some(last) = self.waiting.back() {
            self.seen = last.event;
        }
        Ok(())
    }
}
