//! Acting for a tenant at the server's own command line.

use crate::domain::{TenantId, TenantScope};

/// A tenant's scope, for whoever may run commands beside the server: it could change the settings as well.
#[expect(clippy::disallowed_methods, reason = "the command line is one of the places that may vouch for a tenant")]
pub(super) const fn scope(tenant: TenantId) -> TenantScope {
    TenantScope::assume_verified(tenant)
}
