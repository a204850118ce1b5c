//! The table `messages`.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::{Database, DatabaseError};
use crate::domain::{AgentId, Message, TenantScope};

/// The messages of a tenant's agents.
#[derive(Debug)]
pub struct Messages<'a> {
    database: &'a Database,
    scope: TenantScope,
}

#[derive(sqlx::FromRow)]
struct MessageRow {
    id: i64,
    role: String,
    content: String,
    time: DateTime<Utc>,
}

impl TryFrom<MessageRow> for Message {
    type Error = DatabaseError;

    fn try_from(row: MessageRow) -> Result<Self, DatabaseError> {
        Ok(Self {
            id: row.id,
            role: row.role.parse().map_err(|_| DatabaseError::Corrupt("messages.role"))?,
            content: row.content.into(),
            time: row.time,
        })
    }
}

impl<'a> Messages<'a> {
    pub(super) const fn new(database: &'a Database, scope: TenantScope) -> Self {
        Self { database, scope }
    }

    /// Writes messages of an agent, each in place of an earlier state of itself.
    ///
    /// # Errors
    /// If Postgres fails; then none is written.
    pub async fn save(&self, agent: AgentId, messages: &[Message]) -> Result<(), DatabaseError> {
        let ids: Vec<i64> = messages.iter().map(|message| message.id).collect();
        let roles: Vec<&str> = messages.iter().map(|message| message.role.as_str()).collect();
        // Postgres text cannot hold NUL, and terminals do not show it.
        let contents: Vec<String> = messages.iter().map(|message| message.content.replace('\0', "")).collect();
        let times: Vec<DateTime<Utc>> = messages.iter().map(|message| message.time).collect();
        let mut transaction = self.database.begin(self.scope).await?;
        sqlx::query(
            "INSERT INTO messages (tenant_id, agent_id, id, role, content, time)
             SELECT $1, $2, * FROM unnest($3::bigint[], $4::text[], $5::text[], $6::timestamptz[])
             ON CONFLICT (tenant_id, agent_id, id)
             DO UPDATE SET role = excluded.role, content = excluded.content, time = excluded.time",
        )
        .bind(self.scope.tenant().as_uuid())
        .bind(agent.as_uuid())
        .bind(ids)
        .bind(roles)
        .bind(contents)
        .bind(times)
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(())
    }

    /// An agent's whole conversation, in order.
    ///
    /// # Errors
    /// If Postgres fails.
    pub async fn list(&self, agent: AgentId) -> Result<Arc<[Message]>, DatabaseError> {
        let mut transaction = self.database.begin(self.scope).await?;
        let rows: Vec<MessageRow> =
            sqlx::query_as("SELECT id, role, content, time FROM messages WHERE tenant_id = $1 AND agent_id = $2 ORDER BY id")
                .bind(self.scope.tenant().as_uuid())
                .bind(agent.as_uuid())
                .fetch_all(&mut *transaction)
                .await?;
        transaction.commit().await?;
        rows.into_iter().map(Message::try_from).collect()
    }
}
