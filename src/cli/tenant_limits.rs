//! `agentapi tenant limits`

use super::{Failure, operator};
use crate::domain::{LimitOverride, Slug, TenantLimits};
use crate::postgres::Database;

/// What to change of a tenant's limits.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct LimitsChange {
    /// Requests a minute of all its users together
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    requests_per_minute: Option<u32>,
    /// Head-room above it; with token buckets, their size
    #[arg(long, value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    burst: Option<u32>,
    /// Requests a minute of each of its users
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    user_requests_per_minute: Option<u32>,
    /// Head-room above it
    #[arg(long, value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    user_burst: Option<u32>,
    /// Forget the tenant's own limits first: the server's settings hold
    #[arg(long)]
    clear: bool,
}

impl LimitsChange {
    fn is_none(&self) -> bool {
        let numbers = [self.requests_per_minute, self.burst, self.user_requests_per_minute, self.user_burst];
        !self.clear && numbers.iter().all(Option::is_none)
    }

    fn of(&self, before: TenantLimits) -> TenantLimits {
        let before = if self.clear { TenantLimits::default() } else { before };
        let limit = |before: LimitOverride, requests_per_minute: Option<u32>, burst: Option<u32>| LimitOverride {
            requests_per_minute: requests_per_minute.or(before.requests_per_minute),
            burst_size: burst.or(before.burst_size),
        };
        TenantLimits {
            tenant: limit(before.tenant, self.requests_per_minute, self.burst),
            user: limit(before.user, self.user_requests_per_minute, self.user_burst),
        }
    }
}

/// Changes what is to be changed, and shows what holds.
pub(super) async fn run(database: &Database, slug: &Slug, change: &LimitsChange) -> Result<(), Failure> {
    let tenant = database.tenants().find(slug).await?.ok_or_else(|| format!("there is no tenant {slug}"))?;
    let mut limits = database.tenants().limits(tenant.id).await?;
    if !change.is_none() {
        limits = change.of(limits);
        database.tenants().set_limits(operator::scope(tenant.id), limits).await?;
    }
    for (who, limit) in [("tenant", limits.tenant), ("user", limits.user)] {
        let shown = |number: Option<u32>| number.map_or_else(|| "default".to_owned(), |number| number.to_string());
        println!("{who}\trequests-per-minute={}\tburst={}", shown(limit.requests_per_minute), shown(limit.burst_size));
    }
    Ok(())
}
