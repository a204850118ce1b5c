//! The table `approvals`.

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::types::Json;
use uuid::Uuid;

use super::{Action, AuditEntry, Database, DatabaseError, audit};
use crate::domain::{AgentId, Approval, ApprovalId, ApprovalOption, ApprovalState, NewApproval, TenantScope, UserId};

/// What a tenant's agents asked leave for.
#[derive(Debug)]
pub struct Approvals<'a> {
    database: &'a Database,
    scope: TenantScope,
}

/// Rows with what became of them. One that is pending counts as expired once its time, or that of the agent's life that asked, is over.
macro_rules! select {
    ($where:literal) => {
        concat!(
            "SELECT approvals.id, tool_call, options, option_id, answered_by, approvals.created_at, expires_at, settled_at,
                    CASE WHEN approvals.state = 'pending'
                              AND (expires_at <= now() OR agents.state <> 'running' OR agents.fence <> approvals.fence)
                         THEN 'expired' ELSE approvals.state END AS state
             FROM approvals JOIN agents ON agents.tenant_id = approvals.tenant_id AND agents.id = approvals.agent_id
             WHERE approvals.tenant_id = $1 AND approvals.agent_id = $2 AND ",
            $where
        )
    };
}

#[derive(sqlx::FromRow)]
struct ApprovalRow {
    id: Uuid,
    tool_call: Value,
    options: Json<Vec<ApprovalOption>>,
    state: String,
    option_id: Option<String>,
    answered_by: Option<Uuid>,
    created_at: DateTime<Utc>,
    expires_at: DateTime<Utc>,
    settled_at: Option<DateTime<Utc>>,
}

impl TryFrom<ApprovalRow> for Approval {
    type Error = DatabaseError;

    fn try_from(row: ApprovalRow) -> Result<Self, DatabaseError> {
        Ok(Self {
            asked: NewApproval {
                id: ApprovalId::from_uuid(row.id),
                tool_call: row.tool_call,
                options: row.options.0,
                created_at: row.created_at,
                expires_at: row.expires_at,
            },
            state: row.state.parse().map_err(|_| DatabaseError::Corrupt("approvals.state"))?,
            option: row.option_id,
            answered_by: row.answered_by.map(UserId::from_uuid),
            settled_at: row.settled_at,
        })
    }
}

impl<'a> Approvals<'a> {
    pub(super) const fn new(database: &'a Database, scope: TenantScope) -> Self {
        Self { database, scope }
    }

    /// At most `limit` of an agent's, newest first, that are older than `after`; of one state if `state` says so.
    ///
    /// # Errors
    /// If Postgres fails.
    pub async fn list(
        &self,
        agent: AgentId,
        state: Option<ApprovalState>,
        after: Option<ApprovalId>,
        limit: u16,
    ) -> Result<Vec<Approval>, DatabaseError> {
        let mut transaction = self.database.begin(self.scope).await?;
        let rows: Vec<ApprovalRow> = sqlx::query_as(concat!(
            "SELECT * FROM (",
            select!("($3::uuid IS NULL OR approvals.id < $3)"),
            ") AS found WHERE $4::text IS NULL OR state = $4 ORDER BY id DESC LIMIT $5"
        ))
        .bind(self.scope.tenant().as_uuid())
        .bind(agent.as_uuid())
        .bind(after.map(|id| id.as_uuid()))
        .bind(state.map(ApprovalState::as_str))
        .bind(i64::from(limit))
        .fetch_all(&mut *transaction)
        .await?;
        transaction.commit().await?;
        rows.into_iter().map(TryInto::try_into).collect()
    }

    /// One of an agent's.
    ///
    /// # Errors
    /// If Postgres fails.
    pub async fn get(&self, agent: AgentId, id: ApprovalId) -> Result<Option<Approval>, DatabaseError> {
        let mut transaction = self.database.begin(self.scope).await?;
        let row: Option<ApprovalRow> = sqlx::query_as(select!("approvals.id = $3"))
            .bind(self.scope.tenant().as_uuid())
            .bind(agent.as_uuid())
            .bind(id.as_uuid())
            .fetch_optional(&mut *transaction)
            .await?;
        transaction.commit().await?;
        row.map(TryInto::try_into).transpose()
    }

    /// Answers one that is pending, in the name of `user`. Of several that answer it at once, one does. Returns whether this was it.
    ///
    /// # Errors
    /// If Postgres fails.
    pub async fn answer(&self, agent: AgentId, id: ApprovalId, option: &str, user: UserId) -> Result<bool, DatabaseError> {
        let mut transaction = self.database.begin(self.scope).await?;
        let answered = sqlx::query(
            "UPDATE approvals SET state = 'answered', option_id = $4, answered_by = $5, settled_at = now()
             FROM agents
             WHERE approvals.tenant_id = $1 AND agent_id = $2 AND approvals.id = $3
                   AND approvals.state = 'pending' AND expires_at > now()
                   AND agents.tenant_id = $1 AND agents.id = $2 AND agents.state = 'running' AND agents.fence = approvals.fence",
        )
        .bind(self.scope.tenant().as_uuid())
        .bind(agent.as_uuid())
        .bind(id.as_uuid())
        .bind(option)
        .bind(user.as_uuid())
        .execute(&mut *transaction)
        .await?;
        let is_first = answered.rows_affected() == 1;
        if is_first {
            let entry = AuditEntry::by(user, Action::AgentApproval, format!("{agent}/{id}"));
            audit::insert(&mut transaction, self.scope, &entry).await?;
        }
        transaction.commit().await?;
        Ok(is_first)
    }

    /// Settles one without an answer, unless it is settled. Returns the answer if it was answered before.
    ///
    /// # Errors
    /// If Postgres fails.
    pub async fn settle(&self, agent: AgentId, id: ApprovalId, state: ApprovalState) -> Result<Option<String>, DatabaseError> {
        let mut transaction = self.database.begin(self.scope).await?;
        sqlx::query(
            "UPDATE approvals SET state = $4, settled_at = now()
             WHERE tenant_id = $1 AND agent_id = $2 AND id = $3 AND state = 'pending'",
        )
        .bind(self.scope.tenant().as_uuid())
        .bind(agent.as_uuid())
        .bind(id.as_uuid())
        .bind(state.as_str())
        .execute(&mut *transaction)
        .await?;
        let answer: Option<Option<String>> =
            sqlx::query_scalar("SELECT option_id FROM approvals WHERE tenant_id = $1 AND agent_id = $2 AND id = $3")
                .bind(self.scope.tenant().as_uuid())
                .bind(agent.as_uuid())
                .bind(id.as_uuid())
                .fetch_optional(&mut *transaction)
                .await?;
        transaction.commit().await?;
        Ok(answer.flatten())
    }
}
