//! Where something is cached.

use std::fmt;
use std::sync::Arc;

use super::{AgentId, ApiKeyId, TenantId, UserId};

/// A key in a cache: `cache:{tenant}:{kind}:{id}`. It is made of ids alone, never of a caller's text, and no two tenants share one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CacheKey(Arc<str>);

/// What names a thing within its tenant and kind: an id that the server makes itself.
pub trait CacheId: fmt::Display + Send + Sync {}

impl CacheId for AgentId {}
impl CacheId for ApiKeyId {}
impl CacheId for TenantId {}
impl CacheId for UserId {}

impl CacheKey {
    /// The key of a tenant's thing of a kind.
    #[must_use]
    pub fn new(tenant: TenantId, kind: &'static str, id: &impl CacheId) -> Self {
        Self(format!("cache:{tenant}:{kind}:{id}").into())
    }

    /// The key's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CacheKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tenants_kinds_and_ids_have_keys_of_their_own() {
        let (tenant, user) = (TenantId::new(), UserId::new());
        let key = CacheKey::new(tenant, "user", &user);
        assert_eq!(key.as_str(), format!("cache:{tenant}:user:{user}"));
        let others = [
            CacheKey::new(TenantId::new(), "user", &user),
            CacheKey::new(tenant, "tenant", &user),
            CacheKey::new(tenant, "user", &UserId::new()),
        ];
        assert!(!others.contains(&key));
    }
}
