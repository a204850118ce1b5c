//! The table `audit_entries`: who did what. Written in the transaction of the change it tells of, and never changed.

use sqlx::{Postgres, Transaction};
use uuid::Uuid;

use super::DatabaseError;
use crate::domain::{TenantScope, UserId};

/// Something that was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    actor: Option<UserId>,
    action: Action,
    subject: String,
}

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// A tenant was made.
    TenantCreate,
    /// A tenant was given limits of its own.
    TenantLimits,
    /// A user was made.
    UserCreate,
    /// A user's password was changed.
    UserPasswd,
    /// A user was disabled.
    UserDisable,
    /// A user was enabled again.
    UserEnable,
    /// A tenant was suspended.
    TenantSuspend,
    /// A suspended tenant was let in again.
    TenantResume,
    /// Somebody logged in.
    SessionLogin,
    /// Somebody logged out, or ended a session.
    SessionEnd,
    /// An API key was made.
    ApiKeyCreate,
    /// An API key was revoked.
    ApiKeyRevoke,
    /// An agent was created.
    AgentCreate,
    /// An agent was stopped.
    AgentStop,
    /// An agent was started again.
    AgentRestart,
    /// What an agent asked leave for was answered.
    AgentApproval,
    /// A circuit was closed.
    CircuitReset,
}

impl Action {
    const fn as_str(self) -> &'static str {
        match self {
            Self::TenantCreate => "tenant.create",
            Self::TenantLimits => "tenant.limits",
            Self::UserCreate => "user.create",
            Self::UserPasswd => "user.passwd",
            Self::UserDisable => "user.disable",
            Self::UserEnable => "user.enable",
            Self::TenantSuspend => "tenant.suspend",
            Self::TenantResume => "tenant.resume",
            Self::SessionLogin => "session.login",
            Self::SessionEnd => "session.end",
            Self::ApiKeyCreate => "api_key.create",
            Self::ApiKeyRevoke => "api_key.revoke",
            Self::AgentCreate => "agent.create",
            Self::AgentStop => "agent.stop",
            Self::AgentRestart => "agent.restart",
            Self::AgentApproval => "agent.approval",
            Self::CircuitReset => "circuit.reset",
        }
    }
}

impl AuditEntry {
    /// `user` did `action` to `subject`.
    #[must_use]
    pub fn by(user: UserId, action: Action, subject: String) -> Self {
        Self { actor: Some(user), action, subject }
    }

    /// Somebody at the server's command line did `action` to `subject`.
    #[must_use]
    pub fn by_operator(action: Action, subject: String) -> Self {
        Self { actor: None, action, subject }
    }
}

pub(super) async fn insert(
    transaction: &mut Transaction<'_, Postgres>,
    scope: TenantScope,
    entry: &AuditEntry,
) -> Result<(), DatabaseError> {
    sqlx::query("INSERT INTO audit_entries (tenant_id, id, actor, action, subject) VALUES ($1, $2, $3, $4, $5)")
        .bind(scope.tenant().as_uuid())
        .bind(Uuid::now_v7())
        .bind(entry.actor.map(|actor| actor.as_uuid()))
        .bind(entry.action.as_str())
        .bind(&entry.subject)
        .execute(&mut **transaction)
        .await?;
    Ok(())
}
