//! Users and tenants as they are shown: looked up in Postgres once for many requests.
//!
//! What is cached of them says neither whether a user is disabled nor whether a tenant is suspended, so that nobody can come to decide
//! by it who gets in.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Cache, Kind, Policy};
use crate::domain::{Email, Slug, TenantId, TenantScope, UserId, UserRole, Whose};
use crate::postgres::{Database, DatabaseError};

/// Changes are announced, and then forgotten everywhere; the lives bound how long one that nobody heard of is not seen.
const USER: Kind<UserId, UserProfile> =
    Kind::new(Policy { name: "user", near: Duration::from_secs(30), life: Duration::from_secs(600), max_bytes: 4 * 1024 });

const TENANT: Kind<TenantId, TenantProfile> =
    Kind::new(Policy { name: "tenant", near: Duration::from_secs(30), life: Duration::from_secs(600), max_bytes: 4 * 1024 });

/// A user as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserProfile {
    /// Its id.
    pub id: UserId,
    /// Its e-mail address.
    pub email: Email,
    /// What it may do, to be shown: what it may do in a request is said by its session.
    pub role: UserRole,
}

/// A tenant as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TenantProfile {
    /// Its id.
    pub id: TenantId,
    /// Its short name.
    pub slug: Slug,
    /// Its name, for people.
    pub name: String,
}

/// Looks users and tenants up. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Directory {
    database: Database,
    cache: Cache,
}

impl Directory {
    /// What `database` says, cached by `cache`.
    #[must_use]
    pub const fn new(database: Database, cache: Cache) -> Self {
        Self { database, cache }
    }

    /// A user of the tenant of `scope`.
    ///
    /// # Errors
    /// If it is not cached and Postgres fails.
    pub async fn user(&self, scope: TenantScope, id: UserId) -> Result<Option<UserProfile>, DatabaseError> {
        let database = self.database.clone();
        let fill = move || {
            let database = database.clone();
            async move {
                let user = database.users(scope).get(id).await?;
                Ok(user.map(|user| UserProfile { id: user.id, email: user.email, role: user.role }))
            }
        };
        self.cache.get(&USER, scope.tenant(), id, fill).await
    }

    /// The tenant of `scope`.
    ///
    /// # Errors
    /// If it is not cached and Postgres fails.
    pub async fn tenant(&self, scope: TenantScope) -> Result<Option<TenantProfile>, DatabaseError> {
        let (database, id) = (self.database.clone(), scope.tenant());
        let fill = move || {
            let database = database.clone();
            async move {
                let tenant = database.tenants().get(id).await?;
                Ok(tenant.map(|tenant| TenantProfile { id: tenant.id, slug: tenant.slug, name: tenant.name }))
            }
        };
        self.cache.get(&TENANT, id, id, fill).await
    }

    /// Forgets what is cached of what was changed, here and where it is shared.
    pub async fn changed(&self, changed: Whose) {
        let forgotten = match changed {
            Whose::Tenant(tenant) => self.cache.invalidate(&TENANT, tenant, tenant).await,
            Whose::User(tenant, user) => self.cache.invalidate(&USER, tenant, user).await,
        };
        if let Err(error) = forgotten {
            tracing::warn!(%error, %changed, "Redis is told of it later: other servers may show what it has cached until then");
        }
    }

    /// Forgets what this process knows: changes may have been missed.
    pub fn missed_changes(&self) {
        self.cache.forget_near();
    }
}
