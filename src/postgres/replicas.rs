//! The table `replicas`, and what concerns all agents of one server.

use uuid::Uuid;

use super::announcements::announce;
use super::{Announcement, Database, DatabaseError};
use crate::domain::{AgentId, Fence, ReplicaId};

/// The servers that share this database.
#[derive(Debug)]
pub struct Replicas<'a> {
    database: &'a Database,
}

/// A server that counts as living.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replica {
    /// Its id.
    pub id: ReplicaId,
    /// Where the others reach it.
    pub url: String,
}

/// An agent that a server runs, as Postgres has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OwnAgent {
    /// The agent.
    pub id: AgentId,
    /// Which life of it.
    pub life: Fence,
}

impl<'a> Replicas<'a> {
    pub(super) const fn new(database: &'a Database) -> Self {
        Self { database }
    }

    /// Counts a server as living, reached at `url`, and tells the others.
    ///
    /// # Errors
    /// If Postgres fails.
    pub async fn register(&self, id: ReplicaId, url: &str) -> Result<(), DatabaseError> {
        let mut transaction = self.database.pool.begin().await?;
        sqlx::query(
            "INSERT INTO replicas (id, url) VALUES ($1, $2)
             ON CONFLICT (id) DO UPDATE SET url = excluded.url, registered_at = now()",
        )
        .bind(id.as_uuid())
        .bind(url)
        .execute(&mut *transaction)
        .await?;
        announce(&mut transaction, Announcement::ReplicaJoined(id)).await?;
        transaction.commit().await?;
        Ok(())
    }

    /// Every server that counts as living.
    ///
    /// # Errors
    /// If Postgres fails.
    pub async fn list(&self) -> Result<Vec<Replica>, DatabaseError> {
        let rows: Vec<(Uuid, String)> =
            sqlx::query_as("SELECT id, url FROM replicas ORDER BY id").fetch_all(&self.database.pool).await?;
        Ok(rows.into_iter().map(|(id, url)| Replica { id: ReplicaId::from_uuid(id), url }).collect())
    }

    /// Counts a server as dead, and marks what it ran as lost. Returns how many agents that were.
    ///
    /// # Errors
    /// If Postgres fails.
    pub async fn bury(&self, id: ReplicaId) -> Result<u64, DatabaseError> {
        let mut transaction = self.database.begin_of_replica(id).await?;
        sqlx::query("DELETE FROM replicas WHERE id = $1").bind(id.as_uuid()).execute(&mut *transaction).await?;
        let lost = sqlx::query("UPDATE agents SET state = 'lost', ended_at = now() WHERE replica_id = $1 AND state = 'running'")
            .bind(id.as_uuid())
            .execute(&mut *transaction)
            .await?
            .rows_affected();
        transaction.commit().await?;
        Ok(lost)
    }

    /// The agents that a server runs, of every tenant.
    ///
    /// # Errors
    /// If Postgres fails.
    pub async fn running(&self, id: ReplicaId) -> Result<Vec<OwnAgent>, DatabaseError> {
        let mut transaction = self.database.begin_of_replica(id).await?;
        let rows: Vec<(Uuid, i64)> = sqlx::query_as("SELECT id, fence FROM agents WHERE replica_id = $1 AND state = 'running'")
            .bind(id.as_uuid())
            .fetch_all(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(rows.into_iter().map(|(id, fence)| OwnAgent { id: AgentId::from_uuid(id), life: Fence::from_i64(fence) }).collect())
    }
}
