//! The table `users`.

use chrono::{DateTime, Utc};
use sqlx::{Postgres, Transaction};
use uuid::Uuid;

use super::announcements::announce;
use super::session_endings::note_sessions_ended;
use super::{Action, Announcement, AuditEntry, Database, DatabaseError, audit};
use crate::domain::{Email, PasswordHash, SessionId, TenantId, TenantScope, User, UserId, UserRole, Whose};

/// The users of a tenant.
#[derive(Debug)]
pub struct Users<'a> {
    pub(super) database: &'a Database,
    pub(super) scope: TenantScope,
}

/// A user to be added.
#[derive(Clone)]
pub struct NewUser {
    /// Its address.
    pub email: Email,
    /// Its password's hash.
    pub password: PasswordHash,
    /// What it may do.
    pub role: UserRole,
}

/// What a log-in is checked against.
#[derive(Clone)]
pub struct Credentials {
    /// The user.
    pub user: User,
    /// Its password's hash.
    pub password: PasswordHash,
}

#[derive(sqlx::FromRow)]
struct UserRow {
    tenant_id: Uuid,
    id: Uuid,
    email: String,
    password_hash: String,
    role: String,
    created_at: DateTime<Utc>,
    disabled_at: Option<DateTime<Utc>>,
    session_epoch: i64,
    tenant_epoch: i64,
}

impl TryFrom<UserRow> for Credentials {
    type Error = DatabaseError;

    fn try_from(row: UserRow) -> Result<Self, DatabaseError> {
        Ok(Self {
            user: User {
                tenant_id: TenantId::from_uuid(row.tenant_id),
                id: UserId::from_uuid(row.id),
                email: row.email.parse().map_err(|_| DatabaseError::Corrupt("users.email"))?,
                role: row.role.parse().map_err(|_| DatabaseError::Corrupt("users.role"))?,
                created_at: row.created_at,
                disabled_at: row.disabled_at,
                session_epoch: row.session_epoch,
                tenant_epoch: row.tenant_epoch,
            },
            password: PasswordHash::from_phc(row.password_hash),
        })
    }
}

impl<'a> Users<'a> {
    pub(super) const fn new(database: &'a Database, scope: TenantScope) -> Self {
        Self { database, scope }
    }

    /// Adds a user.
    ///
    /// # Errors
    /// [`DatabaseError::Conflict`] on `users_email_key` if the address is taken.
    pub async fn insert(&self, new: &NewUser) -> Result<User, DatabaseError> {
        let mut transaction = self.database.begin(self.scope).await?;
        let row: UserRow = sqlx::query_as(
            "INSERT INTO users (tenant_id, id, email, password_hash, role) VALUES ($1, $2, $3, $4, $5)
             RETURNING tenant_id, id, email, password_hash, role, created_at, disabled_at, session_epoch,
                       (SELECT tenants.session_epoch FROM tenants WHERE tenants.id = tenant_id) AS tenant_epoch",
        )
        .bind(self.scope.tenant().as_uuid())
        .bind(UserId::new().as_uuid())
        .bind(new.email.as_str())
        .bind(new.password.as_phc())
        .bind(new.role.as_str())
        .fetch_one(&mut *transaction)
        .await?;
        audit::insert(&mut transaction, self.scope, &AuditEntry::by_operator(Action::UserCreate, row.id.to_string())).await?;
        transaction.commit().await?;
        Ok(Credentials::try_from(row)?.user)
    }

    /// The credentials of the user with this address.
    ///
    /// # Errors
    /// If Postgres fails.
    pub async fn credentials(&self, email: &Email) -> Result<Option<Credentials>, DatabaseError> {
        let mut transaction = self.database.begin(self.scope).await?;
        let row: Option<UserRow> = sqlx::query_as(
            "SELECT tenant_id, id, email, password_hash, role, created_at, disabled_at, session_epoch,
                    (SELECT tenants.session_epoch FROM tenants WHERE tenants.id = tenant_id) AS tenant_epoch
             FROM users WHERE tenant_id = $1 AND email = $2",
        )
        .bind(self.scope.tenant().as_uuid())
        .bind(email.as_str())
        .fetch_optional(&mut *transaction)
        .await?;
        transaction.commit().await?;
        row.map(TryInto::try_into).transpose()
    }

    /// The user with this id.
    ///
    /// # Errors
    /// If Postgres fails.
    pub async fn get(&self, id: UserId) -> Result<Option<User>, DatabaseError> {
        let mut transaction = self.database.begin(self.scope).await?;
        let row: Option<UserRow> = sqlx::query_as(
            "SELECT tenant_id, id, email, password_hash, role, created_at, disabled_at, session_epoch,
                    (SELECT tenants.session_epoch FROM tenants WHERE tenants.id = tenant_id) AS tenant_epoch
             FROM users WHERE tenant_id = $1 AND id = $2",
        )
        .bind(self.scope.tenant().as_uuid())
        .bind(id.as_uuid())
        .fetch_optional(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(row.map(Credentials::try_from).transpose()?.map(|credentials| credentials.user))
    }

    /// All users, oldest first.
    ///
    /// # Errors
    /// If Postgres fails.
    pub async fn list(&self) -> Result<Vec<User>, DatabaseError> {
        let mut transaction = self.database.begin(self.scope).await?;
        let rows: Vec<UserRow> = sqlx::query_as(
            "SELECT tenant_id, id, email, password_hash, role, created_at, disabled_at, session_epoch,
                    (SELECT tenants.session_epoch FROM tenants WHERE tenants.id = tenant_id) AS tenant_epoch
             FROM users WHERE tenant_id = $1 ORDER BY created_at, id",
        )
        .bind(self.scope.tenant().as_uuid())
        .fetch_all(&mut *transaction)
        .await?;
        transaction.commit().await?;
        rows.into_iter().map(|row| Credentials::try_from(row).map(|credentials| credentials.user)).collect()
    }

    /// Gives a user a new password, and tells every server that its sessions end. Returns the user's id, or nothing if there is no such
    /// user.
    ///
    /// # Errors
    /// If Postgres fails.
    pub async fn set_password(&self, email: &Email, password: &PasswordHash) -> Result<Option<UserId>, DatabaseError> {
        let mut transaction = self.database.begin(self.scope).await?;
        note_sessions_ended(&mut transaction, self.scope).await?;
        let id: Option<Uuid> = sqlx::query_scalar(
            "UPDATE users SET password_hash = $3, session_epoch = session_epoch + 1, sessions_ended_at = now(),
                              spared_session = NULL
             WHERE tenant_id = $1 AND email = $2
             RETURNING id",
        )
        .bind(self.scope.tenant().as_uuid())
        .bind(email.as_str())
        .bind(password.as_phc())
        .fetch_optional(&mut *transaction)
        .await?;
        self.finish(transaction, id, Action::UserPasswd).await
    }

    /// Lets a user log in no more, and tells every server that its sessions end. Returns the user's id, or nothing if there is no such
    /// user.
    ///
    /// # Errors
    /// If Postgres fails.
    pub async fn disable(&self, email: &Email) -> Result<Option<UserId>, DatabaseError> {
        let mut transaction = self.database.begin(self.scope).await?;
        note_sessions_ended(&mut transaction, self.scope).await?;
        let id: Option<Uuid> = sqlx::query_scalar(
            "UPDATE users SET disabled_at = coalesce(disabled_at, now()), session_epoch = session_epoch + 1,
                              sessions_ended_at = now(), spared_session = NULL
             WHERE tenant_id = $1 AND email = $2
             RETURNING id",
        )
        .bind(self.scope.tenant().as_uuid())
        .bind(email.as_str())
        .fetch_optional(&mut *transaction)
        .await?;
        self.finish(transaction, id, Action::UserDisable).await
    }

    /// Lets a disabled user log in again. Returns the user's id, or nothing if there is no such user.
    ///
    /// # Errors
    /// If Postgres fails.
    pub async fn enable(&self, email: &Email) -> Result<Option<UserId>, DatabaseError> {
        let mut transaction = self.database.begin(self.scope).await?;
        let id: Option<Uuid> =
            sqlx::query_scalar("UPDATE users SET disabled_at = NULL WHERE tenant_id = $1 AND email = $2 RETURNING id")
                .bind(self.scope.tenant().as_uuid())
                .bind(email.as_str())
                .fetch_optional(&mut *transaction)
                .await?;
        self.finish(transaction, id, Action::UserEnable).await
    }

    /// Writes down what was done to a user, if there is one, and tells every server, also if its sessions end by it.
    async fn finish(
        &self,
        mut transaction: Transaction<'_, Postgres>,
        id: Option<Uuid>,
        action: Action,
    ) -> Result<Option<UserId>, DatabaseError> {
        let id = id.map(UserId::from_uuid);
        if let Some(user) = id {
            audit::insert(&mut transaction, self.scope, &AuditEntry::by_operator(action, user.to_string())).await?;
            let tenant = self.scope.tenant();
            announce(&mut transaction, Announcement::Changed(Whose::User(tenant, user))).await?;
            if action != Action::UserEnable {
                announce(&mut transaction, Announcement::SessionsEnd(Whose::User(tenant, user))).await?;
            }
        }
        transaction.commit().await?;
        Ok(id)
    }

    /// Writes that a user has logged in, unless since its credentials were read it was disabled, its tenant suspended, or its sessions
    /// ended. Returns whether it was written; if not, the session that was opened must end.
    ///
    /// To be called once the session is open: whoever ends sessions does so after it has changed the user's row, and so either finds
    /// this session, or is seen here.
    ///
    /// # Errors
    /// If Postgres fails; the session must end then, too.
    pub async fn record_login(&self, user: &User, session: SessionId) -> Result<bool, DatabaseError> {
        let mut transaction = self.database.begin(self.scope).await?;
        let unchanged: bool = sqlx::query_scalar(
            "SELECT EXISTS (SELECT FROM users JOIN tenants ON tenants.id = users.tenant_id
                            WHERE users.tenant_id = $1 AND users.id = $2 AND users.session_epoch = $3
                              AND users.disabled_at IS NULL AND tenants.suspended_at IS NULL)",
        )
        .bind(self.scope.tenant().as_uuid())
        .bind(user.id.as_uuid())
        .bind(user.session_epoch)
        .fetch_one(&mut *transaction)
        .await?;
        if unchanged {
            let entry = AuditEntry::by(user.id, Action::SessionLogin, session.to_string());
            audit::insert(&mut transaction, self.scope, &entry).await?;
        }
        transaction.commit().await?;
        Ok(unchanged)
    }

    /// At most `limit` users' ids, in their order, that come after `after`.
    ///
    /// # Errors
    /// If Postgres fails.
    pub async fn ids(&self, after: Option<UserId>, limit: u16) -> Result<Vec<UserId>, DatabaseError> {
        let mut transaction = self.database.begin(self.scope).await?;
        let ids: Vec<Uuid> = sqlx::query_scalar(
            "SELECT id FROM users WHERE tenant_id = $1 AND ($2::uuid IS NULL OR id > $2) ORDER BY id LIMIT $3",
        )
        .bind(self.scope.tenant().as_uuid())
        .bind(after.map(|id| id.as_uuid()))
        .bind(i64::from(limit))
        .fetch_all(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(ids.into_iter().map(UserId::from_uuid).collect())
    }
}
