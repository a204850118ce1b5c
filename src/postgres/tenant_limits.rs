//! The table `tenants`: the columns of a tenant's own rate limits.

use super::{Action, AuditEntry, DatabaseError, Tenants, audit};
use crate::domain::{LimitOverride, TenantId, TenantLimits, TenantScope};

#[derive(sqlx::FromRow)]
struct LimitsRow {
    requests_per_minute: Option<i32>,
    burst_size: Option<i32>,
    user_requests_per_minute: Option<i32>,
    user_burst_size: Option<i32>,
}

impl TryFrom<LimitsRow> for TenantLimits {
    type Error = DatabaseError;

    fn try_from(row: LimitsRow) -> Result<Self, DatabaseError> {
        let whole = |number: Option<i32>| {
            number.map(|number| u32::try_from(number).map_err(|_| DatabaseError::Corrupt("tenants' limits"))).transpose()
        };
        let limit = |requests_per_minute, burst_size| {
            Ok::<_, DatabaseError>(LimitOverride {
                requests_per_minute: whole(requests_per_minute)?,
                burst_size: whole(burst_size)?,
            })
        };
        Ok(Self {
            tenant: limit(row.requests_per_minute, row.burst_size)?,
            user: limit(row.user_requests_per_minute, row.user_burst_size)?,
        })
    }
}

impl Tenants<'_> {
    /// The limits of a tenant; those of no tenant differ from the settings in nothing.
    ///
    /// # Errors
    /// If Postgres fails.
    pub async fn limits(&self, id: TenantId) -> Result<TenantLimits, DatabaseError> {
        let row: Option<LimitsRow> = sqlx::query_as(
            "SELECT requests_per_minute, burst_size, user_requests_per_minute, user_burst_size FROM tenants WHERE id = $1",
        )
        .bind(id.as_uuid())
        .fetch_optional(&self.database().pool)
        .await?;
        row.map_or_else(|| Ok(TenantLimits::default()), TryInto::try_into)
    }

    /// Gives the tenant of `scope` these limits.
    ///
    /// # Errors
    /// If Postgres fails, or [`DatabaseError::Conflict`] if a number is out of bounds.
    pub async fn set_limits(&self, scope: TenantScope, limits: TenantLimits) -> Result<(), DatabaseError> {
        let column = |number: Option<u32>| number.map(i64::from);
        let mut transaction = self.database().begin(scope).await?;
        sqlx::query(
            "UPDATE tenants SET requests_per_minute = $2, burst_size = $3, user_requests_per_minute = $4, user_burst_size = $5
             WHERE id = $1",
        )
        .bind(scope.tenant().as_uuid())
        .bind(column(limits.tenant.requests_per_minute))
        .bind(column(limits.tenant.burst_size))
        .bind(column(limits.user.requests_per_minute))
        .bind(column(limits.user.burst_size))
        .execute(&mut *transaction)
        .await?;
        let entry = AuditEntry::by_operator(Action::TenantLimits, scope.tenant().to_string());
        audit::insert(&mut transaction, scope, &entry).await?;
        transaction.commit().await.map_err(Into::into)
    }
}
