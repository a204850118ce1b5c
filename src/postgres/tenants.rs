//! The table `tenants`: the one directory that belongs to no tenant.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::announcements::announce;
use super::{Action, Announcement, AuditEntry, Database, DatabaseError, audit};
use crate::domain::{Slug, Tenant, TenantId, TenantScope, Whose};

/// The tenants.
#[derive(Debug)]
pub struct Tenants<'a>(&'a Database);

#[derive(sqlx::FromRow)]
struct TenantRow {
    id: Uuid,
    slug: String,
    name: String,
    created_at: DateTime<Utc>,
    suspended_at: Option<DateTime<Utc>>,
    session_epoch: i64,
}

impl TryFrom<TenantRow> for Tenant {
    type Error = DatabaseError;

    fn try_from(row: TenantRow) -> Result<Self, DatabaseError> {
        Ok(Self {
            id: TenantId::from_uuid(row.id),
            slug: row.slug.parse().map_err(|_| DatabaseError::Corrupt("tenants.slug"))?,
            name: row.name,
            created_at: row.created_at,
            suspended_at: row.suspended_at,
            session_epoch: row.session_epoch,
        })
    }
}

impl<'a> Tenants<'a> {
    pub(super) const fn new(database: &'a Database) -> Self {
        Self(database)
    }

    pub(super) const fn database(&self) -> &Database {
        self.0
    }

    /// Adds a tenant. `scope` is the new tenant's own.
    ///
    /// # Errors
    /// [`DatabaseError::Conflict`] on `tenants_slug_key` if the slug is taken.
    pub async fn insert(&self, scope: TenantScope, slug: &Slug, name: &str) -> Result<Tenant, DatabaseError> {
        let mut transaction = self.0.begin(scope).await?;
        let row: TenantRow = sqlx::query_as(
            "INSERT INTO tenants (id, slug, name) VALUES ($1, $2, $3)
             RETURNING id, slug, name, created_at, suspended_at, session_epoch",
        )
        .bind(scope.tenant().as_uuid())
        .bind(slug.as_str())
        .bind(name)
        .fetch_one(&mut *transaction)
        .await?;
        audit::insert(&mut transaction, scope, &AuditEntry::by_operator(Action::TenantCreate, slug.to_string())).await?;
        transaction.commit().await?;
        row.try_into()
    }

    /// The tenant with this slug.
    ///
    /// # Errors
    /// If Postgres fails.
    pub async fn find(&self, slug: &Slug) -> Result<Option<Tenant>, DatabaseError> {
        let row: Option<TenantRow> =
            sqlx::query_as("SELECT id, slug, name, created_at, suspended_at, session_epoch FROM tenants WHERE slug = $1")
                .bind(slug.as_str())
                .fetch_optional(&self.0.pool)
                .await?;
        row.map(TryInto::try_into).transpose()
    }

    /// The tenant with this id.
    ///
    /// # Errors
    /// If Postgres fails.
    pub async fn get(&self, id: TenantId) -> Result<Option<Tenant>, DatabaseError> {
        let row: Option<TenantRow> =
            sqlx::query_as("SELECT id, slug, name, created_at, suspended_at, session_epoch FROM tenants WHERE id = $1")
                .bind(id.as_uuid())
                .fetch_optional(&self.0.pool)
                .await?;
        row.map(TryInto::try_into).transpose()
    }

    /// All tenants, oldest first.
    ///
    /// # Errors
    /// If Postgres fails.
    pub async fn list(&self) -> Result<Vec<Tenant>, DatabaseError> {
        let rows: Vec<TenantRow> =
            sqlx::query_as("SELECT id, slug, name, created_at, suspended_at, session_epoch FROM tenants ORDER BY created_at, id")
                .fetch_all(&self.0.pool)
                .await?;
        rows.into_iter().map(TryInto::try_into).collect()
    }

    /// Lets nobody of a tenant log in any more, and tells every server that its sessions end.
    ///
    /// # Errors
    /// If Postgres fails.
    pub async fn suspend(&self, scope: TenantScope) -> Result<(), DatabaseError> {
        let mut transaction = self.0.begin(scope).await?;
        sqlx::query(
            "UPDATE tenants SET suspended_at = coalesce(suspended_at, now()), session_epoch = session_epoch + 1,
                                sessions_ended_at = now()
             WHERE id = $1",
        )
        .bind(scope.tenant().as_uuid())
        .execute(&mut *transaction)
        .await?;
        sqlx::query("UPDATE users SET session_epoch = session_epoch + 1, spared_session = NULL WHERE tenant_id = $1")
            .bind(scope.tenant().as_uuid())
            .execute(&mut *transaction)
            .await?;
        let entry = AuditEntry::by_operator(Action::TenantSuspend, scope.tenant().to_string());
        audit::insert(&mut transaction, scope, &entry).await?;
        announce(&mut transaction, Announcement::Changed(Whose::Tenant(scope.tenant()))).await?;
        announce(&mut transaction, Announcement::SessionsEnd(Whose::Tenant(scope.tenant()))).await?;
        transaction.commit().await?;
        Ok(())
    }

    /// Lets the users of a suspended tenant log in again.
    ///
    /// # Errors
    /// If Postgres fails.
    pub async fn resume(&self, scope: TenantScope) -> Result<(), DatabaseError> {
        let mut transaction = self.0.begin(scope).await?;
        sqlx::query("UPDATE tenants SET suspended_at = NULL WHERE id = $1")
            .bind(scope.tenant().as_uuid())
            .execute(&mut *transaction)
            .await?;
        let entry = AuditEntry::by_operator(Action::TenantResume, scope.tenant().to_string());
        audit::insert(&mut transaction, scope, &entry).await?;
        announce(&mut transaction, Announcement::Changed(Whose::Tenant(scope.tenant()))).await?;
        transaction.commit().await?;
        Ok(())
    }
}
