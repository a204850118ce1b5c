//! The table `messages`.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{Database, DatabaseError};
use crate::domain::{AgentId, Asked, EventId, Fence, IdempotencyKey, Message, MessagePage, QueuedId, TenantScope};

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
    event_id: i64,
}

/// What became of messages that were to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// They are stored.
    Stored,
    /// Nothing was written: that life of the agent is over.
    LifeIsOver,
    /// Nothing was written: there is no such agent yet.
    NoAgent,
}

impl Written {
    /// By whether the life goes on; nothing where there is no agent.
    pub(super) const fn of(goes_on: Option<bool>) -> Self {
        match goes_on {
            Some(true) => Self::Stored,
            Some(false) => Self::LifeIsOver,
            None => Self::NoAgent,
        }
    }
}

impl TryFrom<MessageRow> for Message {
    type Error = DatabaseError;

    fn try_from(row: MessageRow) -> Result<Self, DatabaseError> {
        Ok(Self {
            id: row.id,
            role: row.role.parse().map_err(|_| DatabaseError::Corrupt("messages.role"))?,
            content: row.content.into(),
            time: row.time,
            event: EventId::from_i64(row.event_id),
        })
    }
}

impl<'a> Messages<'a> {
    pub(super) const fn new(database: &'a Database, scope: TenantScope) -> Self {
        Self { database, scope }
    }

    /// Writes messages of one life of an agent, each in place of an earlier state of itself, with how they were `asked` for, by id; and
    /// takes them out of the queue, if they were there. All or nothing.
    ///
    /// # Errors
    /// If Postgres fails; then none is written.
    pub async fn save(
        &self,
        agent: AgentId,
        life: Fence,
        messages: &[Message],
        asked: &BTreeMap<i64, Asked>,
    ) -> Result<Written, DatabaseError> {
        let ids: Vec<i64> = messages.iter().map(|message| message.id).collect();
        let roles: Vec<&str> = messages.iter().map(|message| message.role.as_str()).collect();
        // Postgres text cannot hold NUL, and terminals do not show it.
        let contents: Vec<String> = messages.iter().map(|message| message.content.replace('\0', "")).collect();
        let times: Vec<DateTime<Utc>> = messages.iter().map(|message| message.time).collect();
        let events: Vec<i64> = messages.iter().map(|message| message.event.as_i64()).collect();
        let requests = messages.iter().map(|message| asked.get(&message.id).and_then(|asked| asked.request.as_ref()));
        let (keys, digests): (Vec<Option<&str>>, Vec<Option<&[u8]>>) =
            requests.map(|request| (request.map(|r| r.key.as_str()), request.map(|r| &r.digest[..]))).unzip();
        let queued: Vec<Option<Uuid>> = messages.iter().map(|message| Some(asked.get(&message.id)?.queued?.as_uuid())).collect();
        let mut transaction = self.database.begin(self.scope).await?;
        // The lock keeps the life from being declared over until these are written.
        let goes_on: Option<bool> = sqlx::query_scalar(
            "WITH life AS (
                 SELECT fence = $3 AND state = 'running' AS goes_on FROM agents WHERE tenant_id = $1 AND id = $2 FOR SHARE
             ), written AS (
                 INSERT INTO messages (tenant_id, agent_id, id, role, content, time, event_id, idempotency_key, request_digest, queue_id)
                 SELECT $1, $2, new.*
                 FROM life, unnest($4::bigint[], $5::text[], $6::text[], $7::timestamptz[], $8::bigint[], $9::text[], $10::bytea[],
                                   $11::uuid[]) AS new
                 WHERE life.goes_on
                 ON CONFLICT (tenant_id, agent_id, id)
                 DO UPDATE SET role = excluded.role, content = excluded.content, time = excluded.time, event_id = excluded.event_id,
                               idempotency_key = COALESCE(excluded.idempotency_key, messages.idempotency_key),
                               request_digest = COALESCE(excluded.request_digest, messages.request_digest),
                               queue_id = COALESCE(excluded.queue_id, messages.queue_id)
             ), said AS (
                 DELETE FROM queued_messages USING life
                 WHERE life.goes_on AND tenant_id = $1 AND agent_id = $2 AND queued_messages.id = ANY($11)
             )
             SELECT goes_on FROM life",
        )
        .bind(self.scope.tenant().as_uuid())
        .bind(agent.as_uuid())
        .bind(life.as_i64())
        .bind(ids)
        .bind(roles)
        .bind(contents)
        .bind(times)
        .bind(events)
        .bind(keys)
        .bind(digests)
        .bind(queued)
        .fetch_optional(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(Written::of(goes_on))
    }

    /// What the request with this key asked for, as a digest, and which entry of the queue it was; nothing if no message came of it.
    ///
    /// # Errors
    /// If Postgres fails.
    pub async fn asked_with(
        &self,
        agent: AgentId,
        key: &IdempotencyKey,
    ) -> Result<Option<([u8; 32], Option<QueuedId>)>, DatabaseError> {
        let mut transaction = self.database.begin(self.scope).await?;
        let row: Option<(Vec<u8>, Option<Uuid>)> = sqlx::query_as(
            "SELECT request_digest, queue_id FROM messages WHERE tenant_id = $1 AND agent_id = $2 AND idempotency_key = $3",
        )
        .bind(self.scope.tenant().as_uuid())
        .bind(agent.as_uuid())
        .bind(key.as_str())
        .fetch_optional(&mut *transaction)
        .await?;
        transaction.commit().await?;
        row.map(|(digest, queued)| {
            let digest = digest.try_into().map_err(|_| DatabaseError::Corrupt("messages.request_digest"))?;
            Ok((digest, queued.map(QueuedId::from_uuid)))
        })
        .transpose()
    }

    /// An agent's whole conversation, in order, or a page of it.
    ///
    /// # Errors
    /// If Postgres fails.
    pub async fn list(&self, agent: AgentId, page: Option<MessagePage>) -> Result<Arc<[Message]>, DatabaseError> {
        let after = page.and_then(|page| page.after).unwrap_or(-1);
        let mut transaction = self.database.begin(self.scope).await?;
        let rows: Vec<MessageRow> = sqlx::query_as(
            "SELECT id, role, content, time, event_id FROM messages
             WHERE tenant_id = $1 AND agent_id = $2 AND id > $3 ORDER BY id LIMIT $4",
        )
        .bind(self.scope.tenant().as_uuid())
        .bind(agent.as_uuid())
        .bind(after)
        .bind(page.map(|page| i64::from(page.limit)))
        .fetch_all(&mut *transaction)
        .await?;
        transaction.commit().await?;
        rows.into_iter().map(Message::try_from).collect()
    }
}
