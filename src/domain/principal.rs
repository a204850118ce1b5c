//! Who asks.

use super::{Credential, TenantId, TenantScope, UserId, UserRole};

/// The authenticated caller of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Principal {
    /// Its rights to its tenant's rows.
    pub scope: TenantScope,
    /// The user.
    pub user: UserId,
    /// What the user may do.
    pub role: UserRole,
    /// What it came by.
    pub credential: Credential,
}

impl Principal {
    /// The caller's tenant.
    #[must_use]
    pub const fn tenant(&self) -> TenantId {
        self.scope.tenant()
    }
}
