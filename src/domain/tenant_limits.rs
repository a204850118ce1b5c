//! A tenant's own rate limits.

/// What a tenant's limits are where they differ from the server's settings.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TenantLimits {
    /// Of all its users together.
    pub tenant: LimitOverride,
    /// Of each of its users.
    pub user: LimitOverride,
}

/// A limit where it differs from the settings.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LimitOverride {
    /// Requests a minute, 1 to 1,000,000.
    pub requests_per_minute: Option<u32>,
    /// Head-room above it, 0 to 1,000,000.
    pub burst_size: Option<u32>,
}
