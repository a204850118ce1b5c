//! A session that was ended by itself, and not with all others of its user.

use std::time::Duration;

use super::{SessionId, TenantId, UserId};

/// A session that was ended: at log-out, by its id, or because its user opened too many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndedSession {
    /// The tenant.
    pub tenant: TenantId,
    /// The user.
    pub user: UserId,
    /// The session.
    pub session: SessionId,
    /// How long ago, by the clock of Postgres.
    pub age: Duration,
}
