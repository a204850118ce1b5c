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
    /// The key by which the others know what it signs.
    pub public_key: Vec<u8>,
    /// Authenticates all of it.
    pub mac: Vec<u8>,
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

    /// Counts a server as living, and tells the others.
    ///
    /// # Errors
    /// If Postgres fails.
    pub async fn register(&self, replica: &Replica) -> Result<(), DatabaseError> {
        let mut transaction = self.database.pool.begin().await?;
        sqlx::query(
            "INSERT INTO replicas (id, url, public_key, mac) VALUES ($1, $2, $3, $4)
             ON CONFLICT (id) DO UPDATE
             SET url = excluded.url, public_key = excluded.public_key, mac = excluded.mac, registered_at = now()",
        )
        .bind(replica.id.as_uuid())
        .bind(&replica.url)
        .bind(&replica.public_key)
        .bind(&replica.mac)
        .execute(&mut *transaction)
        .await?;
        announce(&mut transaction, Announcement::ReplicaJoined(replica.id)).await?;
        transaction.commit().await?;
        Ok(())
    }

    /// Every server that counts as living.
    ///
    /// # Errors
    /// If Postgres fails.
    pub async fn list(&self) -> Result<Vec<Replica>, DatabaseError> {
        // A server of a version before has no key: what it forwards is a request like any other, and nothing is forwarded to it.
        let rows: Vec<(Uuid, String, Vec<u8>, Vec<u8>)> =
            sqlx::query_as("SELECT id, url, coalesce(public_key, ''), coalesce(mac, '') FROM replicas ORDER BY id")
                .fetch_all(&self.database.pool)
                .await?;
        let replica = |(id, url, public_key, mac)| Replica { id: ReplicaId::from_uuid(id), url, public_key, mac };
        Ok(rows.into_iter().map(replica).collect())
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
