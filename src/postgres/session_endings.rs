//! Which sessions are over because all of a user or a tenant were ended at once: the counts, and when they grew.

use std::collections::HashMap;
use std::time::Duration;

use sqlx::{Postgres, Transaction};
use uuid::Uuid;

use super::announcements::announce;
use super::{Action, Announcement, AuditEntry, DatabaseError, Tenants, Users, audit};
use crate::domain::{Cutoff, SessionId, SessionsEnded, TenantId, TenantScope, UserId, Whose};

impl Tenants<'_> {
    /// The tenants of which sessions were ended at once, all or a user's, within this time or a minute more.
    ///
    /// # Errors
    /// If Postgres fails.
    pub async fn sessions_ended(&self, within: Duration) -> Result<Vec<SessionsEnded>, DatabaseError> {
        let rows: Vec<(Uuid, i64, f64)> = sqlx::query_as(
            "SELECT id, session_epoch, extract(epoch FROM now() - sessions_ended_at)::float8 FROM tenants
             WHERE sessions_ended_at > now() - make_interval(mins => 1, secs => $1)",
        )
        .bind(within.as_secs_f64())
        .fetch_all(&self.database().pool)
        .await?;
        let ended = |(id, epoch, age)| SessionsEnded {
            whose: Whose::Tenant(TenantId::from_uuid(id)),
            cutoff: Cutoff { epoch, spared: None },
            age: Duration::try_from_secs_f64(age).unwrap_or_default(),
        };
        Ok(rows.into_iter().map(ended).collect())
    }
}

impl Users<'_> {
    /// Ends all sessions of a user but `spared`, which is one of them, writes it down, and tells every server. Returns which are over;
    /// nothing if there is no such user.
    ///
    /// # Errors
    /// If Postgres fails; then none has ended.
    pub async fn end_other_sessions(&self, user: UserId, spared: SessionId) -> Result<Option<Cutoff>, DatabaseError> {
        let mut transaction = self.database.begin(self.scope).await?;
        note_sessions_ended(&mut transaction, self.scope).await?;
        let epoch: Option<i64> = sqlx::query_scalar(
            "UPDATE users SET session_epoch = session_epoch + 1, sessions_ended_at = now(), spared_session = $3
             WHERE tenant_id = $1 AND id = $2
             RETURNING session_epoch",
        )
        .bind(self.scope.tenant().as_uuid())
        .bind(user.as_uuid())
        .bind(Uuid::from_bytes(*spared.as_bytes()))
        .fetch_optional(&mut *transaction)
        .await?;
        let entry = AuditEntry::by(user, Action::SessionEnd, "all others".to_owned());
        audit::insert(&mut transaction, self.scope, &entry).await?;
        announce(&mut transaction, Announcement::SessionsEnd(Whose::User(self.scope.tenant(), user))).await?;
        transaction.commit().await?;
        Ok(epoch.map(|epoch| Cutoff { epoch, spared: Some(spared) }))
    }

    /// Which sessions are over of those of `users` that there are.
    ///
    /// # Errors
    /// If Postgres fails.
    pub async fn cutoffs(&self, users: &[UserId]) -> Result<HashMap<UserId, Cutoff>, DatabaseError> {
        let ids: Vec<Uuid> = users.iter().map(UserId::as_uuid).collect();
        let mut transaction = self.database.begin(self.scope).await?;
        let rows: Vec<(Uuid, i64, Option<Uuid>)> =
            sqlx::query_as("SELECT id, session_epoch, spared_session FROM users WHERE tenant_id = $1 AND id = ANY ($2)")
                .bind(self.scope.tenant().as_uuid())
                .bind(ids)
                .fetch_all(&mut *transaction)
                .await?;
        transaction.commit().await?;
        Ok(rows.into_iter().map(|(id, epoch, spared)| (UserId::from_uuid(id), cutoff(epoch, spared))).collect())
    }

    /// The users whose sessions were ended at once within this time, otherwise than with all of their tenant.
    ///
    /// # Errors
    /// If Postgres fails.
    pub async fn sessions_ended(&self, within: Duration) -> Result<Vec<SessionsEnded>, DatabaseError> {
        let tenant = self.scope.tenant();
        let mut transaction = self.database.begin(self.scope).await?;
        let rows: Vec<(Uuid, i64, Option<Uuid>, f64)> = sqlx::query_as(
            "SELECT id, session_epoch, spared_session, extract(epoch FROM now() - sessions_ended_at)::float8 FROM users
             WHERE tenant_id = $1 AND sessions_ended_at > now() - make_interval(secs => $2)",
        )
        .bind(tenant.as_uuid())
        .bind(within.as_secs_f64())
        .fetch_all(&mut *transaction)
        .await?;
        transaction.commit().await?;
        let ended = |(id, epoch, spared, age)| SessionsEnded {
            whose: Whose::User(tenant, UserId::from_uuid(id)),
            cutoff: cutoff(epoch, spared),
            age: Duration::try_from_secs_f64(age).unwrap_or_default(),
        };
        Ok(rows.into_iter().map(ended).collect())
    }
}

fn cutoff(epoch: i64, spared: Option<Uuid>) -> Cutoff {
    Cutoff { epoch, spared: spared.map(|id| SessionId::from_bytes(id.into_bytes())) }
}

/// Writes that sessions of a user of the tenant are ended. Before the user's row is changed: who changes both rows does so in this
/// order, as who suspends a tenant does. Not more than once a minute, so that users do not wait for each other.
pub(super) async fn note_sessions_ended(
    transaction: &mut Transaction<'_, Postgres>,
    scope: TenantScope,
) -> Result<(), DatabaseError> {
    sqlx::query(
        "UPDATE tenants SET sessions_ended_at = now()
         WHERE id = $1 AND (sessions_ended_at IS NULL OR sessions_ended_at < now() - interval '1 minute')",
    )
    .bind(scope.tenant().as_uuid())
    .execute(&mut **transaction)
    .await?;
    Ok(())
}
