//! Who asks.

use super::{SessionId, TenantId, TenantScope, UserId, UserRole};

/// The authenticated caller of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Principal {
    /// Its rights to its tenant's rows.
    pub scope: TenantScope,
    /// The user.
    pub user: UserId,
    /// What the user may do.
    pub role: UserRole,
    /// The session it came by.
    pub session: SessionId,
}

impl Principal {
    /// The caller's tenant.
    #[must_use]
    pub const fn tenant(&self) -> TenantId {
        self.scope.tenant()
    }
}
