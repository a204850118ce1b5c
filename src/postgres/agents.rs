//! The table `agents`.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{Action, AuditEntry, Database, DatabaseError, audit};
use crate::domain::{
    Agent, AgentId, AgentKind, AgentState, AgentType, Fence, ReplicaId, TenantId, TenantScope, TerminalSize, Transport, UserId,
};

/// The agents of a tenant.
#[derive(Debug)]
pub struct Agents<'a> {
    pub(super) database: &'a Database,
    pub(super) scope: TenantScope,
}

/// An agent to be added; it is running.
#[derive(Debug)]
pub struct NewAgentRow<'a> {
    /// Its id.
    pub id: AgentId,
    /// A name for people.
    pub name: Option<&'a str>,
    /// Which coding agent.
    pub agent_type: AgentType,
    /// What it is.
    pub kind: &'a AgentKind,
    /// Its sealed environment; of a remote agent, its token.
    pub sealed_env: &'a [u8],
    /// The server that runs it.
    pub replica: ReplicaId,
    /// Who started it.
    pub created_by: UserId,
}

/// An agent with what is needed to start it, and who runs it.
#[derive(Debug)]
pub struct StoredAgent {
    /// The agent.
    pub agent: Agent,
    /// Its sealed environment; of a remote agent, its token.
    pub sealed_env: Vec<u8>,
    /// The server that runs it, or ran it last.
    pub replica: ReplicaId,
    /// Which life of the agent it is, or was.
    pub life: Fence,
    /// The last session of an agent that speaks the Agent Client Protocol.
    pub acp_session: Option<String>,
}

#[derive(sqlx::FromRow)]
struct AgentRow {
    tenant_id: Uuid,
    id: Uuid,
    name: Option<String>,
    agent_type: String,
    transport: String,
    command: Vec<String>,
    remote_url: Option<String>,
    approval_policy: Option<String>,
    acp_session: Option<String>,
    sealed_env: Vec<u8>,
    terminal_width: i32,
    terminal_height: i32,
    state: String,
    exit_code: Option<i32>,
    replica_id: Uuid,
    fence: i64,
    created_by: Uuid,
    created_at: DateTime<Utc>,
    started_at: DateTime<Utc>,
    ended_at: Option<DateTime<Utc>>,
}

impl TryFrom<AgentRow> for StoredAgent {
    type Error = DatabaseError;

    fn try_from(row: AgentRow) -> Result<Self, DatabaseError> {
        let kind = row.kind()?;
        let agent = Agent {
            tenant_id: TenantId::from_uuid(row.tenant_id),
            id: AgentId::from_uuid(row.id),
            name: row.name,
            agent_type: row.agent_type.parse().map_err(|_| DatabaseError::Corrupt("agents.agent_type"))?,
            kind,
            state: row.state.parse().map_err(|_| DatabaseError::Corrupt("agents.state"))?,
            exit_code: row.exit_code,
            created_by: UserId::from_uuid(row.created_by),
            created_at: row.created_at,
            started_at: row.started_at,
            ended_at: row.ended_at,
        };
        Ok(Self {
            agent,
            sealed_env: row.sealed_env,
            replica: ReplicaId::from_uuid(row.replica_id),
            life: Fence::from_i64(row.fence),
            acp_session: row.acp_session,
        })
    }
}

impl AgentRow {
    fn kind(&self) -> Result<AgentKind, DatabaseError> {
        match self.transport.parse().map_err(|_| DatabaseError::Corrupt("agents.transport"))? {
            Transport::Pty => {
                let side = |length: i32| u16::try_from(length).ok();
                let sides = side(self.terminal_width).zip(side(self.terminal_height));
                let terminal = sides.and_then(|(width, height)| TerminalSize::new(width, height).ok());
                let terminal = terminal.ok_or(DatabaseError::Corrupt("agents.terminal_width"))?;
                Ok(AgentKind::Program { command: self.command.clone(), terminal })
            }
            Transport::Acp => {
                let policy = self.approval_policy.as_deref().and_then(|policy| policy.parse().ok());
                let approval_policy = policy.ok_or(DatabaseError::Corrupt("agents.approval_policy"))?;
                Ok(AgentKind::Acp { command: self.command.clone(), approval_policy })
            }
            Transport::Remote => {
                let url = self.remote_url.as_deref().and_then(|url| url.parse().ok());
                Ok(AgentKind::Remote { url: url.ok_or(DatabaseError::Corrupt("agents.remote_url"))? })
            }
        }
    }
}

impl<'a> Agents<'a> {
    pub(super) const fn new(database: &'a Database, scope: TenantScope) -> Self {
        Self { database, scope }
    }

    /// Adds a running agent, in its first life. Returns nothing if the server that runs it counts as dead, and adds nothing then.
    ///
    /// # Errors
    /// If Postgres fails.
    pub async fn insert(&self, new: &NewAgentRow<'_>) -> Result<Option<Agent>, DatabaseError> {
        // Not every kind has a command or a terminal; the columns are not null.
        let none = TerminalSize::default();
        let (command, terminal, url, policy) = match new.kind {
            AgentKind::Program { command, terminal } => (command.as_slice(), *terminal, None, None),
            AgentKind::Acp { command, approval_policy } => (command.as_slice(), none, None, Some(approval_policy.as_str())),
            AgentKind::Remote { url } => (Default::default(), none, Some(url.as_str()), None),
        };
        let mut transaction = self.database.begin(self.scope).await?;
        let row: Option<AgentRow> = sqlx::query_as(
            "INSERT INTO agents (tenant_id, id, name, agent_type, transport, command, sealed_env, terminal_width,
                                 terminal_height, state, replica_id, created_by, remote_url,
                                 approval_policy)
             SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, 'running', replicas.id, $11, $12, $13
             FROM replicas WHERE replicas.id = $10 FOR KEY SHARE
             RETURNING *",
        )
        .bind(self.scope.tenant().as_uuid())
        .bind(new.id.as_uuid())
        .bind(new.name)
        .bind(new.agent_type.as_str())
        .bind(new.kind.transport().as_str())
        .bind(command)
        .bind(new.sealed_env)
        .bind(i32::from(terminal.width()))
        .bind(i32::from(terminal.height()))
        .bind(new.replica.as_uuid())
        .bind(new.created_by.as_uuid())
        .bind(url)
        .bind(policy)
        .fetch_optional(&mut *transaction)
        .await?;
        if row.is_some() {
            let entry = AuditEntry::by(new.created_by, Action::AgentCreate, new.id.to_string());
            audit::insert(&mut transaction, self.scope, &entry).await?;
        }
        transaction.commit().await?;
        Ok(row.map(StoredAgent::try_from).transpose()?.map(|stored| stored.agent))
    }

    /// Keeps the session that a life of an agent has in the Agent Client Protocol; nothing if that life is over.
    ///
    /// # Errors
    /// If Postgres fails.
    pub async fn keep_acp_session(&self, id: AgentId, life: Fence, session: &str) -> Result<(), DatabaseError> {
        let mut transaction = self.database.begin(self.scope).await?;
        sqlx::query("UPDATE agents SET acp_session = $4 WHERE tenant_id = $1 AND id = $2 AND fence = $3 AND state = 'running'")
            .bind(self.scope.tenant().as_uuid())
            .bind(id.as_uuid())
            .bind(life.as_i64())
            .bind(session)
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(())
    }

    /// The agent with this id.
    ///
    /// # Errors
    /// If Postgres fails.
    pub async fn get(&self, id: AgentId) -> Result<Option<StoredAgent>, DatabaseError> {
        let mut transaction = self.database.begin(self.scope).await?;
        let row: Option<AgentRow> = sqlx::query_as("SELECT * FROM agents WHERE tenant_id = $1 AND id = $2")
            .bind(self.scope.tenant().as_uuid())
            .bind(id.as_uuid())
            .fetch_optional(&mut *transaction)
            .await?;
        transaction.commit().await?;
        row.map(TryInto::try_into).transpose()
    }

    /// At most `limit` agents, newest first, that are older than `after`.
    ///
    /// # Errors
    /// If Postgres fails.
    pub async fn list(&self, after: Option<AgentId>, limit: u16) -> Result<Vec<Agent>, DatabaseError> {
        let mut transaction = self.database.begin(self.scope).await?;
        let rows: Vec<AgentRow> = sqlx::query_as(
            "SELECT * FROM agents WHERE tenant_id = $1 AND ($2::uuid IS NULL OR id < $2) ORDER BY id DESC LIMIT $3",
        )
        .bind(self.scope.tenant().as_uuid())
        .bind(after.map(|id| id.as_uuid()))
        .bind(i64::from(limit))
        .fetch_all(&mut *transaction)
        .await?;
        transaction.commit().await?;
        rows.into_iter().map(|row| StoredAgent::try_from(row).map(|stored| stored.agent)).collect()
    }

    /// Stores that an incarnation of an agent ended, and how. Returns whether it was running; otherwise nothing changes.
    ///
    /// # Errors
    /// If Postgres fails.
    pub async fn end(&self, id: AgentId, life: Fence, state: AgentState, exit_code: Option<i32>) -> Result<bool, DatabaseError> {
        let mut transaction = self.database.begin(self.scope).await?;
        let ended = sqlx::query(
            "UPDATE agents SET state = $4, exit_code = $5, ended_at = now()
             WHERE tenant_id = $1 AND id = $2 AND fence = $3 AND state = 'running'",
        )
        .bind(self.scope.tenant().as_uuid())
        .bind(id.as_uuid())
        .bind(life.as_i64())
        .bind(state.as_str())
        .bind(exit_code)
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(ended.rows_affected() > 0)
    }

    /// Stores that `user` stopped a lost agent, so that its server does not reclaim it. Does nothing if the agent is not lost.
    ///
    /// # Errors
    /// If Postgres fails.
    pub async fn stop_lost(&self, id: AgentId, user: UserId) -> Result<(), DatabaseError> {
        let mut transaction = self.database.begin(self.scope).await?;
        let stopped = sqlx::query("UPDATE agents SET state = 'stopped' WHERE tenant_id = $1 AND id = $2 AND state = 'lost'")
            .bind(self.scope.tenant().as_uuid())
            .bind(id.as_uuid())
            .execute(&mut *transaction)
            .await?;
        if stopped.rows_affected() > 0 {
            audit::insert(&mut transaction, self.scope, &AuditEntry::by(user, Action::AgentStop, id.to_string())).await?;
        }
        transaction.commit().await?;
        Ok(())
    }

    /// Notes that an ended agent begins another life, on `replica`. Returns the agent, or nothing if it was running, or if that server
    /// counts as dead.
    ///
    /// # Errors
    /// If Postgres fails.
    pub async fn start(&self, id: AgentId, replica: ReplicaId, user: UserId) -> Result<Option<StoredAgent>, DatabaseError> {
        let mut transaction = self.database.begin(self.scope).await?;
        let row: Option<AgentRow> = sqlx::query_as(
            "WITH owner AS (SELECT id FROM replicas WHERE id = $3 FOR KEY SHARE)
             UPDATE agents SET state = 'running', exit_code = NULL, ended_at = NULL, started_at = now(),
                               replica_id = owner.id, fence = fence + 1
             FROM owner
             WHERE tenant_id = $1 AND agents.id = $2 AND state <> 'running'
             RETURNING agents.*",
        )
        .bind(self.scope.tenant().as_uuid())
        .bind(id.as_uuid())
        .bind(replica.as_uuid())
        .fetch_optional(&mut *transaction)
        .await?;
        if row.is_some() {
            let entry = AuditEntry::by(user, Action::AgentRestart, id.to_string());
            audit::insert(&mut transaction, self.scope, &entry).await?;
        }
        transaction.commit().await?;
        row.map(StoredAgent::try_from).transpose()
    }
}
