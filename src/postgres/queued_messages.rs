//! The table `queued_messages`: user messages that wait until their agent is idle.

use chrono::{DateTime, Utc};
use sqlx::{Postgres, Transaction};
use uuid::Uuid;

use super::{Database, DatabaseError};
use crate::domain::{AgentId, Fence, QueuedId, RequestKey, TenantScope, UserId};

/// The queues of a tenant's agents.
#[derive(Debug)]
pub struct QueuedMessages<'a> {
    database: &'a Database,
    scope: TenantScope,
}

/// A message that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueuedMessage {
    /// Its id; those accepted later have greater ones.
    pub id: QueuedId,
    /// What is to be said.
    pub content: String,
    /// The request that asked for it, if that may come again.
    pub request: Option<RequestKey>,
    /// Who asked for it.
    pub created_by: UserId,
    /// When.
    pub created_at: DateTime<Utc>,
    /// How far it is.
    pub state: QueuedState,
}

/// How far a queued message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueuedState {
    /// It waits.
    Waiting,
    /// The agent is being given it.
    Delivering,
    /// The agent did not take it.
    Failed,
}

/// What became of a message that was to be queued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Queued {
    /// It waits, with so many others before it.
    Accepted(QueuedId, u64),
    /// As many wait as may.
    Full,
}

/// What became of a message that was to be taken out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancelled {
    /// It is gone.
    Done,
    /// The agent is being given it.
    TooLate,
    /// There is none.
    NotFound,
}

#[derive(sqlx::FromRow)]
struct Row {
    id: Uuid,
    content: String,
    idempotency_key: Option<String>,
    request_digest: Option<Vec<u8>>,
    created_by: Uuid,
    created_at: DateTime<Utc>,
    failed_at: Option<DateTime<Utc>>,
    is_claimed: bool,
}

impl TryFrom<Row> for QueuedMessage {
    type Error = DatabaseError;

    fn try_from(row: Row) -> Result<Self, DatabaseError> {
        let state = match (row.failed_at, row.is_claimed) {
            (Some(_), _) => QueuedState::Failed,
            (None, true) => QueuedState::Delivering,
            (None, false) => QueuedState::Waiting,
        };
        Ok(Self {
            id: QueuedId::from_uuid(row.id),
            content: row.content,
            request: request(row.idempotency_key, row.request_digest)?,
            created_by: UserId::from_uuid(row.created_by),
            created_at: row.created_at,
            state,
        })
    }
}

/// The request as it is stored: both columns, or none.
fn request(key: Option<String>, digest: Option<Vec<u8>>) -> Result<Option<RequestKey>, DatabaseError> {
    let (Some(key), Some(digest)) = (key, digest) else { return Ok(None) };
    let corrupt = || DatabaseError::Corrupt("queued_messages.idempotency_key");
    let key = key.parse().map_err(|_| corrupt())?;
    Ok(Some(RequestKey { key, digest: digest.try_into().map_err(|_| corrupt())? }))
}

impl<'a> QueuedMessages<'a> {
    pub(super) const fn new(database: &'a Database, scope: TenantScope) -> Self {
        Self { database, scope }
    }

    /// Lets a message wait behind the others, of which there may be `most`.
    ///
    /// # Errors
    /// If Postgres fails; then it does not wait.
    pub async fn push(
        &self,
        agent: AgentId,
        content: &str,
        request: Option<&RequestKey>,
        user: UserId,
        most: u64,
    ) -> Result<Queued, DatabaseError> {
        let mut transaction = self.database.begin(self.scope).await?;
        // Under a lock on the agent: two at once are accepted one after the other, in the order of their ids.
        sqlx::query("SELECT 1 FROM agents WHERE tenant_id = $1 AND id = $2 FOR UPDATE")
            .bind(self.scope.tenant().as_uuid())
            .bind(agent.as_uuid())
            .execute(&mut *transaction)
            .await?;
        let waiting = self.count(&mut transaction, agent).await?;
        if waiting >= most {
            return Ok(Queued::Full);
        }
        let id = QueuedId::new();
        sqlx::query(
            "INSERT INTO queued_messages (tenant_id, agent_id, id, content, idempotency_key, request_digest, created_by)
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
        )
        .bind(self.scope.tenant().as_uuid())
        .bind(agent.as_uuid())
        .bind(id.as_uuid())
        .bind(content.replace('\0', ""))
        .bind(request.map(|request| request.key.as_str()))
        .bind(request.map(|request| request.digest.to_vec()))
        .bind(user.as_uuid())
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(Queued::Accepted(id, waiting))
    }

    async fn count(&self, transaction: &mut Transaction<'static, Postgres>, agent: AgentId) -> Result<u64, DatabaseError> {
        let count: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM queued_messages WHERE tenant_id = $1 AND agent_id = $2 AND failed_at IS NULL",
        )
        .bind(self.scope.tenant().as_uuid())
        .bind(agent.as_uuid())
        .fetch_one(&mut **transaction)
        .await?;
        Ok(u64::try_from(count).unwrap_or_default())
    }

    /// The messages that wait for an agent, and those that it did not take, in order.
    ///
    /// # Errors
    /// If Postgres fails.
    pub async fn list(&self, agent: AgentId) -> Result<Vec<QueuedMessage>, DatabaseError> {
        let mut transaction = self.database.begin(self.scope).await?;
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT queued.id, content, idempotency_key, request_digest, queued.created_by, queued.created_at, failed_at,
                    claimed_by IS NOT DISTINCT FROM fence AS is_claimed
             FROM queued_messages queued JOIN agents ON agents.tenant_id = queued.tenant_id AND agents.id = queued.agent_id
             WHERE queued.tenant_id = $1 AND queued.agent_id = $2
             ORDER BY queued.id",
        )
        .bind(self.scope.tenant().as_uuid())
        .bind(agent.as_uuid())
        .fetch_all(&mut *transaction)
        .await?;
        transaction.commit().await?;
        rows.into_iter().map(TryInto::try_into).collect()
    }

    /// The first message that waits, of those accepted after `after`.
    ///
    /// # Errors
    /// If Postgres fails.
    pub async fn first(&self, agent: AgentId, after: Option<QueuedId>) -> Result<Option<QueuedMessage>, DatabaseError> {
        let mut transaction = self.database.begin(self.scope).await?;
        let row: Option<Row> = sqlx::query_as(
            "SELECT id, content, idempotency_key, request_digest, created_by, created_at, failed_at, FALSE AS is_claimed
             FROM queued_messages
             WHERE tenant_id = $1 AND agent_id = $2 AND failed_at IS NULL AND ($3::uuid IS NULL OR id > $3)
             ORDER BY id LIMIT 1",
        )
        .bind(self.scope.tenant().as_uuid())
        .bind(agent.as_uuid())
        .bind(after.map(|id| id.as_uuid()))
        .fetch_optional(&mut *transaction)
        .await?;
        transaction.commit().await?;
        row.map(TryInto::try_into).transpose()
    }

    /// Claims a message for delivery by one life of its agent: from then on it cannot be cancelled, unless that life ends. Returns
    /// whether it still waits.
    ///
    /// # Errors
    /// If Postgres fails.
    pub async fn claim(&self, agent: AgentId, id: QueuedId, life: Fence) -> Result<bool, DatabaseError> {
        self.change(
            "UPDATE queued_messages SET claimed_by = $4 WHERE tenant_id = $1 AND agent_id = $2 AND id = $3",
            agent,
            id,
            Some(life),
        )
        .await
    }

    /// Lets a claimed message wait again.
    ///
    /// # Errors
    /// If Postgres fails.
    pub async fn release(&self, agent: AgentId, id: QueuedId) -> Result<(), DatabaseError> {
        self.change(
            "UPDATE queued_messages SET claimed_by = $4 WHERE tenant_id = $1 AND agent_id = $2 AND id = $3",
            agent,
            id,
            None,
        )
        .await
        .map(drop)
    }

    /// Notes that its agent did not take a message.
    ///
    /// # Errors
    /// If Postgres fails.
    pub async fn fail(&self, agent: AgentId, id: QueuedId) -> Result<(), DatabaseError> {
        let fail =
            "UPDATE queued_messages SET failed_at = now(), claimed_by = $4 WHERE tenant_id = $1 AND agent_id = $2 AND id = $3";
        self.change(fail, agent, id, None).await.map(drop)
    }

    async fn change(
        &self,
        statement: &'static str,
        agent: AgentId,
        id: QueuedId,
        life: Option<Fence>,
    ) -> Result<bool, DatabaseError> {
        let mut transaction = self.database.begin(self.scope).await?;
        let changed = sqlx::query(statement)
            .bind(self.scope.tenant().as_uuid())
            .bind(agent.as_uuid())
            .bind(id.as_uuid())
            .bind(life.map(Fence::as_i64))
            .execute(&mut *transaction)
            .await?
            .rows_affected();
        transaction.commit().await?;
        Ok(changed > 0)
    }

    /// Takes a message out.
    ///
    /// # Errors
    /// If Postgres fails.
    pub async fn cancel(&self, agent: AgentId, id: QueuedId) -> Result<Cancelled, DatabaseError> {
        let mut transaction = self.database.begin(self.scope).await?;
        let claimed: Option<bool> = sqlx::query_scalar(
            "SELECT claimed_by IS NOT DISTINCT FROM fence AND state = 'running' AND failed_at IS NULL
             FROM queued_messages queued JOIN agents ON agents.tenant_id = queued.tenant_id AND agents.id = queued.agent_id
             WHERE queued.tenant_id = $1 AND queued.agent_id = $2 AND queued.id = $3
             FOR UPDATE OF queued",
        )
        .bind(self.scope.tenant().as_uuid())
        .bind(agent.as_uuid())
        .bind(id.as_uuid())
        .fetch_optional(&mut *transaction)
        .await?;
        let outcome = match claimed {
            None => Cancelled::NotFound,
            Some(true) => Cancelled::TooLate,
            Some(false) => {
                sqlx::query("DELETE FROM queued_messages WHERE tenant_id = $1 AND agent_id = $2 AND id = $3")
                    .bind(self.scope.tenant().as_uuid())
                    .bind(agent.as_uuid())
                    .bind(id.as_uuid())
                    .execute(&mut *transaction)
                    .await?;
                Cancelled::Done
            }
        };
        transaction.commit().await?;
        Ok(outcome)
    }
}
