//! Where sessions are kept.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::Claims;
use crate::domain::{SessionId, StoreUnavailable, TenantId, UserId};

/// Whose sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Owner {
    /// The tenant.
    pub tenant: TenantId,
    /// The user.
    pub user: UserId,
}

impl Owner {
    pub(super) const fn of(claims: &Claims) -> Self {
        Self { tenant: claims.tenant, user: claims.user }
    }
}

/// A session as the store knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredSession {
    /// Its id.
    pub id: SessionId,
    /// Its sealed record.
    pub record: Vec<u8>,
    /// How long it lives unless it is used.
    pub idle_left: Duration,
}

/// Keeps sealed records by session id, each with a life that a touch renews, and an index by owner.
#[async_trait]
pub trait SessionStore: Send + Sync + 'static {
    /// Keeps a new session for `idle`; it may be renewed until `ends_at`.
    async fn create(
        &self,
        owner: Owner,
        id: SessionId,
        record: Vec<u8>,
        idle: Duration,
        now: DateTime<Utc>,
        ends_at: DateTime<Utc>,
    ) -> Result<(), StoreUnavailable>;

    /// A living session's record, whose life is now `idle`; nothing if it does not live.
    async fn touch(&self, id: SessionId, idle: Duration) -> Result<Option<Vec<u8>>, StoreUnavailable>;

    /// Ends sessions of an owner. Returns how many lived.
    async fn end(&self, owner: Owner, ids: &[SessionId]) -> Result<u64, StoreUnavailable>;

    /// The living sessions of an owner, in no particular order.
    async fn list(&self, owner: Owner) -> Result<Vec<StoredSession>, StoreUnavailable>;

    /// Clears what has expired, where that does not happen by itself.
    fn prune(&self);
}
