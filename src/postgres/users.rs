//! The table `users`.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{Action, AuditEntry, Database, DatabaseError, audit};
use crate::domain::{Email, PasswordHash, TenantId, TenantScope, User, UserId, UserRole};

/// The users of a tenant.
#[derive(Debug)]
pub struct Users<'a> {
    database: &'a Database,
    scope: TenantScope,
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
             RETURNING tenant_id, id, email, password_hash, role, created_at",
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
            "SELECT tenant_id, id, email, password_hash, role, created_at FROM users WHERE tenant_id = $1 AND email = $2",
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
            "SELECT tenant_id, id, email, password_hash, role, created_at FROM users WHERE tenant_id = $1 AND id = $2",
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
            "SELECT tenant_id, id, email, password_hash, role, created_at FROM users WHERE tenant_id = $1 ORDER BY created_at, id",
        )
        .bind(self.scope.tenant().as_uuid())
        .fetch_all(&mut *transaction)
        .await?;
        transaction.commit().await?;
        rows.into_iter().map(|row| Credentials::try_from(row).map(|credentials| credentials.user)).collect()
    }

    /// Gives a user a new password. Returns the user's id, or nothing if there is no such user.
    ///
    /// # Errors
    /// If Postgres fails.
    pub async fn set_password(&self, email: &Email, password: &PasswordHash) -> Result<Option<UserId>, DatabaseError> {
        let mut transaction = self.database.begin(self.scope).await?;
        let id: Option<Uuid> =
            sqlx::query_scalar("UPDATE users SET password_hash = $3 WHERE tenant_id = $1 AND email = $2 RETURNING id")
                .bind(self.scope.tenant().as_uuid())
                .bind(email.as_str())
                .bind(password.as_phc())
                .fetch_optional(&mut *transaction)
                .await?;
        if let Some(id) = id {
            audit::insert(&mut transaction, self.scope, &AuditEntry::by_operator(Action::UserPasswd, id.to_string())).await?;
        }
        transaction.commit().await?;
        Ok(id.map(UserId::from_uuid))
    }
}
