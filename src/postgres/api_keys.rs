//! The table `api_keys`.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::announcements::announce;
use super::{Action, Announcement, AuditEntry, Database, DatabaseError, audit};
use crate::domain::{ApiKey, ApiKeyId, ApiKeyName, SecretDigest, TenantScope, UserId};

/// The API keys of a tenant.
#[derive(Debug)]
pub struct ApiKeys<'a> {
    database: &'a Database,
    scope: TenantScope,
}

/// A key to be made.
#[derive(Debug, Clone)]
pub struct NewApiKey {
    /// Its id.
    pub id: ApiKeyId,
    /// What its user calls it.
    pub name: ApiKeyName,
    /// The digest of its secret.
    pub secret: SecretDigest,
    /// When it ends, if it does.
    pub expires_at: Option<DateTime<Utc>>,
}

/// What a key that is shown is checked against.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredApiKey {
    /// As whom it acts.
    pub user: UserId,
    /// The digest of its secret.
    pub secret: SecretDigest,
    /// When it ends, if it does.
    pub expires_at: Option<DateTime<Utc>>,
}

#[derive(sqlx::FromRow)]
struct ApiKeyRow {
    id: Uuid,
    user_id: Uuid,
    email: String,
    name: String,
    created_at: DateTime<Utc>,
    expires_at: Option<DateTime<Utc>>,
    last_used_at: Option<DateTime<Utc>>,
}

impl TryFrom<ApiKeyRow> for ApiKey {
    type Error = DatabaseError;

    fn try_from(row: ApiKeyRow) -> Result<Self, DatabaseError> {
        Ok(Self {
            id: ApiKeyId::from_uuid(row.id),
            user: UserId::from_uuid(row.user_id),
            email: row.email.parse().map_err(|_| DatabaseError::Corrupt("users.email"))?,
            name: row.name.parse().map_err(|_| DatabaseError::Corrupt("api_keys.name"))?,
            created_at: row.created_at,
            expires_at: row.expires_at,
            last_used_at: row.last_used_at,
        })
    }
}

impl<'a> ApiKeys<'a> {
    pub(super) const fn new(database: &'a Database, scope: TenantScope) -> Self {
        Self { database, scope }
    }

    /// Makes a key of `user`. Returns nothing if the user has `cap` keys that are neither revoked nor expired: of several that are
    /// made at once, no more than fit are.
    ///
    /// # Errors
    /// If Postgres fails.
    pub async fn insert(&self, user: UserId, new: &NewApiKey, cap: u16) -> Result<Option<ApiKey>, DatabaseError> {
        let mut transaction = self.database.begin(self.scope).await?;
        // One after the other: each counts those before it.
        let email: String = sqlx::query_scalar("SELECT email FROM users WHERE tenant_id = $1 AND id = $2 FOR UPDATE")
            .bind(self.scope.tenant().as_uuid())
            .bind(user.as_uuid())
            .fetch_one(&mut *transaction)
            .await?;
        let row: Option<ApiKeyRow> = sqlx::query_as(
            "INSERT INTO api_keys (tenant_id, id, user_id, name, secret_sha256, expires_at)
             SELECT $1, $2, $3, $4, $5, $6
             WHERE (SELECT count(*) FROM api_keys
                    WHERE tenant_id = $1 AND user_id = $3 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())) < $7
             RETURNING id, user_id, $8::text AS email, name, created_at, expires_at, last_used_at",
        )
        .bind(self.scope.tenant().as_uuid())
        .bind(new.id.as_uuid())
        .bind(user.as_uuid())
        .bind(new.name.as_str())
        .bind(new.secret.as_bytes().as_slice())
        .bind(new.expires_at)
        .bind(i64::from(cap))
        .bind(email)
        .fetch_optional(&mut *transaction)
        .await?;
        if row.is_some() {
            let entry = AuditEntry::by(user, Action::ApiKeyCreate, new.id.to_string());
            audit::insert(&mut transaction, self.scope, &entry).await?;
        }
        transaction.commit().await?;
        row.map(TryInto::try_into).transpose()
    }

    /// The key with this id, unless it is revoked.
    ///
    /// # Errors
    /// If Postgres fails.
    pub async fn get(&self, id: ApiKeyId) -> Result<Option<StoredApiKey>, DatabaseError> {
        let mut transaction = self.database.begin(self.scope).await?;
        let row: Option<(Uuid, Vec<u8>, Option<DateTime<Utc>>)> = sqlx::query_as(
            "SELECT user_id, secret_sha256, expires_at FROM api_keys WHERE tenant_id = $1 AND id = $2 AND revoked_at IS NULL",
        )
        .bind(self.scope.tenant().as_uuid())
        .bind(id.as_uuid())
        .fetch_optional(&mut *transaction)
        .await?;
        transaction.commit().await?;
        let Some((user, secret, expires_at)) = row else { return Ok(None) };
        let secret = SecretDigest::from_bytes(&secret).map_err(|_| DatabaseError::Corrupt("api_keys.secret_sha256"))?;
        Ok(Some(StoredApiKey { user: UserId::from_uuid(user), secret, expires_at }))
    }

    /// At most `limit` keys that are not revoked, newest first, that are older than `after`: of `user`, or else of all.
    ///
    /// # Errors
    /// If Postgres fails.
    pub async fn list(&self, user: Option<UserId>, after: Option<ApiKeyId>, limit: u16) -> Result<Vec<ApiKey>, DatabaseError> {
        let mut transaction = self.database.begin(self.scope).await?;
        let rows: Vec<ApiKeyRow> = sqlx::query_as(
            "SELECT api_keys.id, user_id, email, name, api_keys.created_at, expires_at, last_used_at
             FROM api_keys JOIN users ON users.tenant_id = api_keys.tenant_id AND users.id = user_id
             WHERE api_keys.tenant_id = $1 AND revoked_at IS NULL
                   AND ($2::uuid IS NULL OR user_id = $2) AND ($3::uuid IS NULL OR api_keys.id < $3)
             ORDER BY api_keys.id DESC LIMIT $4",
        )
        .bind(self.scope.tenant().as_uuid())
        .bind(user.map(|id| id.as_uuid()))
        .bind(after.map(|id| id.as_uuid()))
        .bind(i64::from(limit))
        .fetch_all(&mut *transaction)
        .await?;
        transaction.commit().await?;
        rows.into_iter().map(TryInto::try_into).collect()
    }

    /// Revokes a key, of `user` or else of anybody, in the name of `by`, and tells every server. Returns whether there was one.
    ///
    /// # Errors
    /// If Postgres fails.
    pub async fn revoke(&self, user: Option<UserId>, id: ApiKeyId, by: UserId) -> Result<bool, DatabaseError> {
        let mut transaction = self.database.begin(self.scope).await?;
        let revoked = sqlx::query(
            "UPDATE api_keys SET revoked_at = now()
             WHERE tenant_id = $1 AND id = $2 AND revoked_at IS NULL AND ($3::uuid IS NULL OR user_id = $3)",
        )
        .bind(self.scope.tenant().as_uuid())
        .bind(id.as_uuid())
        .bind(user.map(|id| id.as_uuid()))
        .execute(&mut *transaction)
        .await?;
        let was_there = revoked.rows_affected() == 1;
        if was_there {
            let entry = AuditEntry::by(by, Action::ApiKeyRevoke, id.to_string());
            audit::insert(&mut transaction, self.scope, &entry).await?;
            announce(&mut transaction, Announcement::ApiKeyRevoked(self.scope.tenant(), id)).await?;
        }
        transaction.commit().await?;
        Ok(was_there)
    }

    /// Writes down that a key was used, unless that was written within `interval`.
    ///
    /// # Errors
    /// If Postgres fails.
    pub async fn used(&self, id: ApiKeyId, interval: Duration) -> Result<(), DatabaseError> {
        let mut transaction = self.database.begin(self.scope).await?;
        sqlx::query(
            "UPDATE api_keys SET last_used_at = now()
             WHERE tenant_id = $1 AND id = $2 AND (last_used_at IS NULL OR last_used_at < now() - make_interval(secs => $3))",
        )
        .bind(self.scope.tenant().as_uuid())
        .bind(id.as_uuid())
        .bind(interval.as_secs_f64())
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(())
    }
}
