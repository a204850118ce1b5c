//! Where sessions are kept.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::Claims;
use crate::domain::{SessionId, StoreUnavailable, TenantId, UserId, Whose};

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

    pub(super) const fn sessions(self) -> Whose {
        Whose::User(self.tenant, self.user)
    }
}

/// A session as the store knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredSession {
    /// Its id.
    pub id: SessionId,
    /// Its sealed record.
    pub record: String,
    /// How long it lives unless it is used.
    pub idle_left: Duration,
}

/// A session to be kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSession {
    /// Whose it is.
    pub owner: Owner,
    /// Its id.
    pub id: SessionId,
    /// Its sealed record.
    pub record: String,
    /// How long it lives unless it is used.
    pub idle: Duration,
    /// When it begins; the oldest of its owner's is the one that began first.
    pub now: DateTime<Utc>,
    /// How long it may be renewed at most.
    pub ends_at: DateTime<Utc>,
}

/// Keeps sealed records by session id, each with a life that a touch renews, and an index by owner.
#[async_trait]
pub trait SessionStore: Send + Sync + 'static {
    /// Keeps a new session. Where its owner has `cap` others already, the oldest of them end in the same step, so that never more
    /// than `cap` live; returns those.
    async fn create(&self, new: NewSession, cap: usize) -> Result<Vec<SessionId>, StoreUnavailable>;

    /// A living session's record, whose life is now `idle`; nothing if it does not live.
    async fn touch(&self, id: SessionId, idle: Duration) -> Result<Option<String>, StoreUnavailable>;

    /// Gives a living session another record, and leaves its life as it is. Does nothing if it does not live.
    async fn replace(&self, id: SessionId, record: String) -> Result<(), StoreUnavailable>;

    /// Ends sessions of an owner. Returns how many lived.
    async fn end(&self, owner: Owner, ids: &[SessionId]) -> Result<u64, StoreUnavailable>;

    /// The living sessions of an owner, in no particular order.
    async fn list(&self, owner: Owner) -> Result<Vec<StoredSession>, StoreUnavailable>;

    /// Clears what has expired, where that does not happen by itself; called once an `interval`. Returns how many entries it was.
    async fn prune(&self, interval: Duration) -> Result<u64, StoreUnavailable>;

    /// Everybody who has sessions here, where this process is the only one that knows them; nothing where they are shared.
    fn local_owners(&self) -> Option<Vec<Owner>>;
}
