//! The table `timeline_entries`.

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::types::Json;
use sqlx::{Postgres, Transaction};
use uuid::Uuid;

use super::{Database, DatabaseError, Written};
use crate::domain::{AgentId, ApprovalState, EventId, Fence, NewApproval, TenantScope, TimelineEntry};

/// The timelines of a tenant's agents.
#[derive(Debug)]
pub struct Timeline<'a> {
    database: &'a Database,
    scope: TenantScope,
}

#[derive(sqlx::FromRow)]
struct EntryRow {
    id: i64,
    kind: String,
    data: Value,
    time: DateTime<Utc>,
    event_id: i64,
}

impl TryFrom<EntryRow> for TimelineEntry {
    type Error = DatabaseError;

    fn try_from(row: EntryRow) -> Result<Self, DatabaseError> {
        Ok(Self {
            id: row.id,
            kind: row.kind.parse().map_err(|_| DatabaseError::Corrupt("timeline_entries.kind"))?,
            data: row.data,
            time: row.time,
            event: EventId::from_i64(row.event_id),
        })
    }
}

impl<'a> Timeline<'a> {
    pub(super) const fn new(database: &'a Database, scope: TenantScope) -> Self {
        Self { database, scope }
    }

    /// Writes entries of one life of an agent, each in place of an earlier state of itself, and the approvals among them;
    /// all or none. One that was answered stays so.
    ///
    /// # Errors
    /// If Postgres fails; then none is written.
    pub async fn save(
        &self,
        agent: AgentId,
        life: Fence,
        entries: &[&TimelineEntry],
        approvals: &[(&NewApproval, ApprovalState)],
    ) -> Result<Written, DatabaseError> {
        let ids: Vec<i64> = entries.iter().map(|entry| entry.id).collect();
        let kinds: Vec<&str> = entries.iter().map(|entry| entry.kind.as_str()).collect();
        let data: Vec<&Value> = entries.iter().map(|entry| &entry.data).collect();
        let times: Vec<DateTime<Utc>> = entries.iter().map(|entry| entry.time).collect();
        let events: Vec<i64> = entries.iter().map(|entry| entry.event.as_i64()).collect();
        let mut transaction = self.database.begin(self.scope).await?;
        // The lock keeps the life from being declared over until these are written.
        let goes_on: Option<bool> = sqlx::query_scalar(
            "WITH life AS (
                 SELECT fence = $3 AND state = 'running' AS goes_on FROM agents WHERE tenant_id = $1 AND id = $2 FOR SHARE
             ), written AS (
                 INSERT INTO timeline_entries (tenant_id, agent_id, id, kind, data, time, event_id)
                 SELECT $1, $2, new.* FROM life, unnest($4::bigint[], $5::text[], $6::jsonb[], $7::timestamptz[], $8::bigint[]) AS new
                 WHERE life.goes_on
                 ON CONFLICT (tenant_id, agent_id, id)
                 DO UPDATE SET kind = excluded.kind, data = excluded.data, time = excluded.time, event_id = excluded.event_id
             )
             SELECT goes_on FROM life",
        )
        .bind(self.scope.tenant().as_uuid())
        .bind(agent.as_uuid())
        .bind(life.as_i64())
        .bind(ids)
        .bind(kinds)
        .bind(data)
        .bind(times)
        .bind(events)
        .fetch_optional(&mut *transaction)
        .await?;
        if goes_on == Some(true) && !approvals.is_empty() {
            self.insert_approvals(&mut transaction, agent, life, approvals).await?;
        }
        transaction.commit().await?;
        Ok(Written::of(goes_on))
    }

    async fn insert_approvals(
        &self,
        transaction: &mut Transaction<'_, Postgres>,
        agent: AgentId,
        life: Fence,
        approvals: &[(&NewApproval, ApprovalState)],
    ) -> Result<(), DatabaseError> {
        let ids: Vec<Uuid> = approvals.iter().map(|(approval, _)| approval.id.as_uuid()).collect();
        let tool_calls: Vec<&Value> = approvals.iter().map(|(approval, _)| &approval.tool_call).collect();
        let options: Vec<Json<_>> = approvals.iter().map(|(approval, _)| Json(&approval.options)).collect();
        let states: Vec<&str> = approvals.iter().map(|(_, state)| state.as_str()).collect();
        let made: Vec<DateTime<Utc>> = approvals.iter().map(|(approval, _)| approval.created_at).collect();
        let ends: Vec<DateTime<Utc>> = approvals.iter().map(|(approval, _)| approval.expires_at).collect();
        sqlx::query(
            "INSERT INTO approvals (tenant_id, agent_id, fence, id, tool_call, options, created_at, expires_at, state, settled_at)
             SELECT $1, $2, $3, new.*, CASE WHEN new.state <> 'pending' THEN now() END
             FROM unnest($4::uuid[], $5::jsonb[], $6::jsonb[], $7::timestamptz[], $8::timestamptz[], $9::text[])
                  AS new (id, tool_call, options, created_at, expires_at, state)
             ON CONFLICT (tenant_id, agent_id, id) DO UPDATE SET state = excluded.state, settled_at = excluded.settled_at
             WHERE approvals.state = 'pending'",
        )
        .bind(self.scope.tenant().as_uuid())
        .bind(agent.as_uuid())
        .bind(life.as_i64())
        .bind(ids)
        .bind(tool_calls)
        .bind(options)
        .bind(made)
        .bind(ends)
        .bind(states)
        .execute(&mut **transaction)
        .await?;
        Ok(())
    }

    /// At most `limit` entries of an agent after the one with the id `after`, in order.
    ///
    /// # Errors
    /// If Postgres fails.
    pub async fn list(&self, agent: AgentId, after: Option<i64>, limit: u16) -> Result<Vec<TimelineEntry>, DatabaseError> {
        let sql = "SELECT id, kind, data, time, event_id FROM timeline_entries
                   WHERE tenant_id = $1 AND agent_id = $2 AND id > $3 ORDER BY id LIMIT $4";
        self.select(sql, agent, after.unwrap_or(-1), limit).await
    }

    /// At most `limit` entries of an agent that are new or have changed after the event `seen`, in the order in which they came to be
    /// as they are.
    ///
    /// # Errors
    /// If Postgres fails.
    pub async fn since(&self, agent: AgentId, seen: EventId, limit: u16) -> Result<Vec<TimelineEntry>, DatabaseError> {
        let sql = "SELECT id, kind, data, time, event_id FROM timeline_entries
                   WHERE tenant_id = $1 AND agent_id = $2 AND event_id > $3 ORDER BY event_id LIMIT $4";
        self.select(sql, agent, seen.as_i64(), limit).await
    }

    /// How many entries an agent has.
    ///
    /// # Errors
    /// If Postgres fails.
    pub async fn count(&self, agent: AgentId) -> Result<i64, DatabaseError> {
        let mut transaction = self.database.begin(self.scope).await?;
        let last: Option<i64> = sqlx::query_scalar("SELECT max(id) FROM timeline_entries WHERE tenant_id = $1 AND agent_id = $2")
            .bind(self.scope.tenant().as_uuid())
            .bind(agent.as_uuid())
            .fetch_one(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(last.map_or(0, |last| last + 1))
    }

    async fn select(
        &self,
        sql: &'static str,
        agent: AgentId,
        after: i64,
        limit: u16,
    ) -> Result<Vec<TimelineEntry>, DatabaseError> {
        let mut transaction = self.database.begin(self.scope).await?;
        let rows: Vec<EntryRow> = sqlx::query_as(sql)
            .bind(self.scope.tenant().as_uuid())
            .bind(agent.as_uuid())
            .bind(after)
            .bind(i64::from(limit))
            .fetch_all(&mut *transaction)
            .await?;
        transaction.commit().await?;
        rows.into_iter().map(TryInto::try_into).collect()
    }
}
