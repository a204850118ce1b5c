//! The only room that speaks SQL: the pool, the migrations, one file a table.
//!
//! The server works as the role `agentapi_app`, which owns nothing and cannot bypass row-level security, whatever role
//! `DATABASE_URL` names. Queries on tenants' tables run in transactions that are bound to one tenant by a [`TenantScope`].

pub mod embedded;

mod agents;
mod announcements;
mod api_keys;
mod approvals;
mod audit;
mod ended_sessions;
mod error;
mod messages;
mod queued_messages;
mod replicas;
mod sealed_envs;
mod session_endings;
mod tenant_limits;
mod tenants;
mod timeline;
mod users;

use std::time::Duration;

use sqlx::ConnectOptions as _;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, PgPool, Postgres, Transaction};

use crate::domain::{ReplicaId, TenantScope};

/// Where a database is, and how to get in.
pub use sqlx::postgres::PgConnectOptions as ConnectOptions;

pub use self::agents::{Agents, NewAgentRow, StoredAgent};
pub use self::announcements::{Announcement, Announcements};
pub use self::api_keys::{ApiKeys, NewApiKey, StoredApiKey};
pub use self::approvals::Approvals;
pub use self::audit::{Action, AuditEntry};
pub use self::error::DatabaseError;
pub use self::messages::{Messages, Written};
pub use self::queued_messages::{Cancelled, Queued, QueuedMessage, QueuedMessages, QueuedState};
pub use self::replicas::{OwnAgent, Reclaimed, RegisteredReplica, Replica, Replicas};
pub use self::sealed_envs::SealedEnv;
pub use self::tenants::Tenants;
pub use self::timeline::Timeline;
pub use self::users::{Credentials, NewUser, Users};

/// Longest that a statement may take before Postgres cuts it off.
const STATEMENT_TIMEOUT: &str = "10s";

/// A connection that nobody used for this long is checked before it is used again: Postgres may have been started anew.
const CHECK_AFTER: Duration = Duration::from_secs(1);

/// The migrations, embedded in the program.
static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!();

/// The database. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Database {
    pool: PgPool,
}

impl Database {
    /// How to connect to the database that `url` names.
    ///
    /// # Errors
    /// If the URL has options that Postgres connections do not.
    pub fn options(url: &url::Url) -> Result<ConnectOptions, DatabaseError> {
        Ok(ConnectOptions::from_url(url)?)
    }

    /// Runs the migrations that have not run yet, under an advisory lock, as the role that `options` name.
    ///
    /// # Errors
    /// If Postgres cannot be reached or a migration fails.
    pub async fn migrate(options: &PgConnectOptions) -> Result<(), DatabaseError> {
        let mut connection = PgConnection::connect_with(options).await?;
        MIGRATIONS.run(&mut connection).await?;
        connection.close().await?;
        Ok(())
    }

    /// A pool of at most `max_connections`; a request waits `acquire_timeout` for one. Makes no connection yet.
    #[must_use]
    pub fn new(options: PgConnectOptions, max_connections: u32, acquire_timeout: Duration) -> Self {
        let pool = PgPoolOptions::new()
            .max_connections(max_connections)
            .acquire_timeout(acquire_timeout)
            // A connection is checked when it is taken only if it has lain idle: no extra round trip under load.
            .test_before_acquire(false)
            .before_acquire(|connection, known| {
                Box::pin(async move {
                    if known.idle_for >= CHECK_AFTER {
                        connection.ping().await?;
                    }
                    Ok(true)
                })
            })
            .after_connect(|connection, _| {
                Box::pin(async move {
                    connection.execute("SET ROLE agentapi_app").await?;
                    sqlx::query("SELECT set_config('statement_timeout', $1, FALSE)")
                        .bind(STATEMENT_TIMEOUT)
                        .execute(connection)
                        .await?;
                    Ok(())
                })
            })
            .connect_lazy_with(options);
        Self { pool }
    }

    /// Whether Postgres answers.
    ///
    /// # Errors
    /// [`DatabaseError::Unavailable`] if it does not.
    pub async fn ping(&self) -> Result<(), DatabaseError> {
        sqlx::query("SELECT 1").execute(&self.pool).await?;
        Ok(())
    }

    /// Ends every connection, after those in use are given back.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    /// The table of tenants, which belongs to no tenant.
    #[must_use]
    pub fn tenants(&self) -> Tenants<'_> {
        Tenants::new(self)
    }

    /// A tenant's users.
    #[must_use]
    pub fn users(&self, scope: TenantScope) -> Users<'_> {
        Users::new(self, scope)
    }

    /// A tenant's API keys.
    #[must_use]
    pub const fn api_keys(&self, scope: TenantScope) -> ApiKeys<'_> {
        ApiKeys::new(self, scope)
    }

    /// A tenant's agents.
    #[must_use]
    pub fn agents(&self, scope: TenantScope) -> Agents<'_> {
        Agents::new(self, scope)
    }

    /// A tenant's messages.
    #[must_use]
    pub fn messages(&self, scope: TenantScope) -> Messages<'_> {
        Messages::new(self, scope)
    }

    /// The timelines of a tenant's agents.
    #[must_use]
    pub const fn timeline(&self, scope: TenantScope) -> Timeline<'_> {
        Timeline::new(self, scope)
    }

    /// What a tenant's agents asked leave for.
    #[must_use]
    pub const fn approvals(&self, scope: TenantScope) -> Approvals<'_> {
        Approvals::new(self, scope)
    }

    /// The messages that wait for a tenant's agents.
    #[must_use]
    pub const fn queued_messages(&self, scope: TenantScope) -> QueuedMessages<'_> {
        QueuedMessages::new(self, scope)
    }

    /// The servers that share this database.
    #[must_use]
    pub const fn replicas(&self) -> Replicas<'_> {
        Replicas::new(self)
    }

    /// Writes an audit entry that belongs to no other change.
    ///
    /// # Errors
    /// If Postgres fails.
    pub async fn record(&self, scope: TenantScope, entry: &AuditEntry) -> Result<(), DatabaseError> {
        let mut transaction = self.begin(scope).await?;
        audit::insert(&mut transaction, scope, entry).await?;
        transaction.commit().await?;
        Ok(())
    }

    /// A transaction that sees the rows of one tenant.
    async fn begin(&self, scope: TenantScope) -> Result<Transaction<'static, Postgres>, DatabaseError> {
        // One round trip for both. A UUID's text needs no quoting.
        let begin = format!("BEGIN; SET LOCAL app.tenant_id = '{}'", scope.tenant().as_uuid().hyphenated());
        Ok(self.pool.begin_with(AssertSqlSafe(begin)).await?)
    }

    /// A transaction that sees the agents of one server, whatever their tenant.
    async fn begin_of_replica(&self, replica: ReplicaId) -> Result<Transaction<'static, Postgres>, DatabaseError> {
        let begin = format!("BEGIN; SET LOCAL app.replica_id = '{}'", replica.as_uuid().hyphenated());
        Ok(self.pool.begin_with(AssertSqlSafe(begin)).await?)
    }
}
