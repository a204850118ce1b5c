//! The table `replicas`, and what concerns all agents of one server.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use sqlx::{Postgres, Transaction};
use uuid::Uuid;

use super::announcements::announce;
use super::{Announcement, Database, DatabaseError};
use crate::domain::{AgentId, Fence, ReplicaId, TenantId};

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

/// A server, and when it registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegisteredReplica {
    /// The server.
    pub replica: Replica,
    /// Time at which it registered last.
    pub registered_at: DateTime<Utc>,
}

/// An agent whose processes run on a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OwnAgent {
    /// Its tenant.
    pub tenant: TenantId,
    /// The agent.
    pub id: AgentId,
    /// Which life of it.
    pub life: Fence,
}

/// Outcome of reclaiming a server's agents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reclaimed {
    /// Number of agents that were lost and run again.
    pub agents: u64,
    /// Agents that no longer belong to the server: they were restarted, or stopped.
    pub over: Vec<OwnAgent>,
    /// Number of agents that are still lost: the server is not registered.
    pub lost: usize,
}

/// A row of `replicas`.
#[derive(sqlx::FromRow)]
struct Row {
    id: Uuid,
    url: String,
    public_key: Vec<u8>,
    mac: Vec<u8>,
    registered_at: DateTime<Utc>,
}

impl From<Row> for RegisteredReplica {
    fn from(row: Row) -> Self {
        let Row { id, url, public_key, mac, registered_at } = row;
        Self { replica: Replica { id: ReplicaId::from_uuid(id), url, public_key, mac }, registered_at }
    }
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
    pub async fn list(&self) -> Result<Vec<RegisteredReplica>, DatabaseError> {
        // A server of a version before has no key: what it forwards is a request like any other, and nothing is forwarded to it.
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT id, url, coalesce(public_key, '') AS public_key, coalesce(mac, '') AS mac, registered_at FROM replicas ORDER BY id",
        )
        .fetch_all(&self.database.pool)
        .await?;
        Ok(rows.into_iter().map(Into::into).collect())
    }

    /// Counts a server as dead, and marks what it ran as lost. Returns how many agents that were.
    ///
    /// # Errors
    /// If Postgres fails.
    pub async fn bury(&self, id: ReplicaId) -> Result<u64, DatabaseError> {
        let mut transaction = self.database.begin_of_replica(id).await?;
        sqlx::query("DELETE FROM replicas WHERE id = $1").bind(id.as_uuid()).execute(&mut *transaction).await?;
        let lost = lose_agents(&mut transaction, id).await?;
        transaction.commit().await?;
        Ok(lost)
    }

    /// Deregisters a server that failed, and marks its agents as lost. Returns how many agents that were, or nothing if the server has
    /// registered again since, or is deregistered already.
    ///
    /// # Errors
    /// If Postgres fails.
    pub async fn deregister(&self, registered: &RegisteredReplica) -> Result<Option<u64>, DatabaseError> {
        let RegisteredReplica { replica: Replica { id, .. }, registered_at } = registered;
        let mut transaction = self.database.begin_of_replica(*id).await?;
        let deleted = sqlx::query("DELETE FROM replicas WHERE id = $1 AND registered_at = $2")
            .bind(id.as_uuid())
            .bind(registered_at)
            .execute(&mut *transaction)
            .await?;
        let lost = match deleted.rows_affected() {
            0 => None,
            _ => Some(lose_agents(&mut transaction, *id).await?),
        };
        transaction.commit().await?;
        Ok(lost)
    }

    /// Sets those of `own` to running again that were lost with the server `id`, if that is registered, and if no one restarted or stopped
    /// them since: fencing token and server must be the same.
    ///
    /// # Errors
    /// If Postgres fails; then nothing has changed.
    pub async fn reclaim(&self, id: ReplicaId, own: &[OwnAgent]) -> Result<Reclaimed, DatabaseError> {
        let tenants: Vec<Uuid> = own.iter().map(|own| own.tenant.as_uuid()).collect();
        let ids: Vec<Uuid> = own.iter().map(|own| own.id.as_uuid()).collect();
        let lives: Vec<i64> = own.iter().map(|own| own.life.as_i64()).collect();
        let mut transaction = self.database.begin_of_replica(id).await?;
        // The lock on its row keeps the server registered until this is committed.
        let agents = sqlx::query(
            "WITH owner AS (SELECT id FROM replicas WHERE id = $1 FOR KEY SHARE)
             UPDATE agents SET state = 'running', ended_at = NULL
             FROM owner, unnest($2::uuid[], $3::uuid[], $4::bigint[]) AS own (tenant_id, id, fence)
             WHERE agents.tenant_id = own.tenant_id AND agents.id = own.id AND agents.fence = own.fence
                   AND agents.replica_id = owner.id AND agents.state = 'lost'",
        )
        .bind(id.as_uuid())
        .bind(&tenants)
        .bind(&ids)
        .bind(&lives)
        .execute(&mut *transaction)
        .await?
        .rows_affected();
        let rows: Vec<(Uuid, i64, String)> = sqlx::query_as(
            "SELECT agents.id, agents.fence, agents.state
             FROM agents JOIN unnest($2::uuid[], $3::uuid[]) AS own (tenant_id, id)
                  ON agents.tenant_id = own.tenant_id AND agents.id = own.id
             WHERE replica_id = $1",
        )
        .bind(id.as_uuid())
        .bind(&tenants)
        .bind(&ids)
        .fetch_all(&mut *transaction)
        .await?;
        transaction.commit().await?;
        let states: BTreeMap<(Uuid, i64), String> = rows.into_iter().map(|(id, fence, state)| ((id, fence), state)).collect();
        let state = |own: &OwnAgent| states.get(&(own.id.as_uuid(), own.life.as_i64())).map(String::as_str);
        let over = own.iter().filter(|own| !matches!(state(own), Some("running" | "lost"))).copied().collect();
        let lost = own.iter().filter(|own| state(own) == Some("lost")).count();
        Ok(Reclaimed { agents, over, lost })
    }
}

/// Marks the running agents of a server as lost. Returns how many they were.
async fn lose_agents(transaction: &mut Transaction<'_, Postgres>, id: ReplicaId) -> Result<u64, DatabaseError> {
    let lost = sqlx::query("UPDATE agents SET state = 'lost', ended_at = now() WHERE replica_id = $1 AND state = 'running'")
        .bind(id.as_uuid())
        .execute(&mut **transaction)
        .await?;
    Ok(lost.rows_affected())
}
