//! What a key is checked against: the key itself, its user and its tenant, each cached for some seconds, in the process and in Redis.
//!
//! Unlike all else that is cached, this decides who gets in. So it lives for seconds only: less, in both places together, than the
//! quarantine that a change leaves where it is heard. Whoever heard of a change can then never be told the old value again, whatever
//! became of Redis; whoever did not hear goes by it for no longer than [`OLDEST`].

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::cache::{CLOCK_TOLERANCE, Cache, CacheError, FILL, Kind, Policy, QUARANTINE};
use crate::domain::{ApiKeyId, TenantId, TenantScope, UserId, UserRole, Whose};
use crate::postgres::{Database, DatabaseError, StoredApiKey};

/// How long a process goes by what it knows, and how long Redis keeps it for others; each may be a tenth more.
const LIFE: Duration = Duration::from_secs(10);

/// The age at which nobody goes by what Postgres said any more: it was read, then in Redis, then in a process. Whoever writes it back to
/// Redis cannot make it younger, for its age is sealed with it; the tolerance is what that may be off by.
const OLDEST: Duration = Duration::from_secs(FILL.as_secs() + (LIFE.as_secs() * 11).div_ceil(10) * 2 + CLOCK_TOLERANCE.as_secs());

const _: () = assert!(OLDEST.as_secs() < QUARANTINE.as_secs());

const fn policy(name: &'static str) -> Policy {
    Policy { name, near: LIFE, life: LIFE, max_bytes: 1024 }
}

const KEY: Kind<ApiKeyId, StoredApiKey> = Kind::new(policy("api_key"));

const USER: Kind<UserId, UserAccess> = Kind::new(policy("user_access"));

const TENANT: Kind<TenantId, TenantAccess> = Kind::new(policy("tenant_access"));

/// Whether a user gets in, and what it may do.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct UserAccess {
    pub(super) role: UserRole,
    pub(super) is_disabled: bool,
}

/// Whether anybody of a tenant gets in.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct TenantAccess {
    pub(super) is_suspended: bool,
}

/// Looks up what keys are checked against. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct LookUp {
    database: Database,
    cache: Cache,
}

impl LookUp {
    pub(super) const fn new(database: Database, cache: Cache) -> Self {
        Self { database, cache }
    }

    /// The key with this id; none if it is revoked.
    pub(super) async fn key(&self, scope: TenantScope, id: ApiKeyId) -> Result<Option<StoredApiKey>, DatabaseError> {
        let database = self.database.clone();
        let fill = move || {
            let database = database.clone();
            async move { database.api_keys(scope).get(id).await }
        };
        self.cache.get(&KEY, scope.tenant(), id, fill).await
    }

    pub(super) async fn user(&self, scope: TenantScope, id: UserId) -> Result<Option<UserAccess>, DatabaseError> {
        let database = self.database.clone();
        let fill = move || {
            let database = database.clone();
            async move {
                let user = database.users(scope).get(id).await?;
                Ok(user.map(|user| UserAccess { role: user.role, is_disabled: user.disabled_at.is_some() }))
            }
        };
        self.cache.get(&USER, scope.tenant(), id, fill).await
    }

    pub(super) async fn tenant(&self, scope: TenantScope) -> Result<Option<TenantAccess>, DatabaseError> {
        let (database, id) = (self.database.clone(), scope.tenant());
        let fill = move || {
            let database = database.clone();
            async move {
                let tenant = database.tenants().get(id).await?;
                Ok(tenant.map(|tenant| TenantAccess { is_suspended: tenant.suspended_at.is_some() }))
            }
        };
        self.cache.get(&TENANT, id, id, fill).await
    }

    /// Forgets a key here, at once.
    pub(super) fn forget_key(&self, tenant: TenantId, id: ApiKeyId) {
        self.cache.forget(&KEY, tenant, &id);
    }

    /// Forgets what is known of a user or a tenant here, at once.
    pub(super) fn forget_owner(&self, whose: Whose) {
        match whose {
            Whose::Tenant(tenant) => self.cache.forget(&TENANT, tenant, &tenant),
            Whose::User(tenant, user) => self.cache.forget(&USER, tenant, &user),
        }
    }

    /// Forgets a key where it is shared too.
    pub(super) async fn revoked(&self, tenant: TenantId, id: ApiKeyId) -> Result<(), CacheError> {
        self.cache.invalidate(&KEY, tenant, id).await
    }

    /// Forgets what is known of a user or a tenant where it is shared too.
    pub(super) async fn changed(&self, whose: Whose) -> Result<(), CacheError> {
        match whose {
            Whose::Tenant(tenant) => self.cache.invalidate(&TENANT, tenant, tenant).await,
            Whose::User(tenant, user) => self.cache.invalidate(&USER, tenant, user).await,
        }
    }
}
