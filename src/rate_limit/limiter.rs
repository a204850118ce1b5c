//! The limiter that requests meet.

use std::net::IpAddr;
use std::sync::Arc;

use tokio::time::Instant;

use super::denials::Denials;
use super::{Decision, Identifier, Limit, LoginSource, MemoryRateLimitStore, Quota, RateLimitStore, Taken, TenantLimitsCache};
use crate::config;
use crate::domain::{StoreUnavailable, TenantId, UserId, counted_address, networks_of};

/// Policies of attempts to log in by network, from the one of a single customer to the wider ones.
const LOGIN_NETWORK_POLICIES: [&str; 3] = ["login-ip", "login-ip-56", "login-ip-48"];

/// How many times as much a wider network may try as the next narrower one: more than one customer may be behind it.
const WIDER_NETWORK_FACTOR: u32 = 4;

/// Limits requests by a shared store, and by the process alone while that one is away.
#[derive(Clone)]
pub struct RateLimiter {
    shared: Arc<dyn RateLimitStore>,
    local: Arc<MemoryRateLimitStore>,
    denials: Arc<Denials>,
    tenants: TenantLimitsCache,
    settings: Arc<config::RateLimit>,
}

/// Who made a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Source {
    /// The store.
    Shared,
    /// This process, because the store was away.
    Local,
    /// This process, which remembers what the store refused.
    Remembered,
}

impl Source {
    /// The source's name, for metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Shared => "shared",
            Self::Local => "local",
            Self::Remembered => "remembered",
        }
    }
}

/// A decision on a request.
#[derive(Debug, Clone)]
pub struct Verdict {
    /// The limits that it met.
    pub limits: Vec<Limit>,
    /// Place of the one that refused, or else of the one that has least left.
    pub tightest: usize,
    /// The answer of that one.
    pub decision: Decision,
    /// Who decided.
    pub source: Source,
}

impl Verdict {
    fn new(limits: Vec<Limit>, taken: Taken, source: Source) -> Self {
        Self { limits, tightest: taken.tightest, decision: taken.decision, source }
    }

    /// The name of the policy that refused, or else of the one that has least left.
    #[must_use]
    pub fn policy(&self) -> &'static str {
        self.limits.get(self.tightest).map_or("default", |limit| limit.policy)
    }
}

impl RateLimiter {
    /// Limits by `shared` as `settings` say, and as `tenants` differ from them; nothing if the settings say so.
    #[must_use]
    pub fn new(shared: Arc<dyn RateLimitStore>, tenants: TenantLimitsCache, settings: &config::RateLimit) -> Option<Self> {
        let local = Arc::new(MemoryRateLimitStore::new(settings.algorithm));
        let settings = Arc::new(settings.clone());
        settings.enabled.then(|| Self { shared, local, denials: Arc::default(), tenants, settings })
    }

    /// How requests are counted.
    #[must_use]
    pub fn algorithm(&self) -> config::RateLimitAlgorithm {
        self.settings.algorithm
    }

    /// The limits that a request from `address` meets, whose token says it is `user`'s, if it shows one.
    pub async fn limits(&self, user: Option<(TenantId, UserId)>, address: IpAddr) -> Vec<Limit> {
        let settings = &self.settings;
        let address = Identifier::Ip(counted_address(address));
        let ip = settings.ip_requests_per_minute.map(|rate| {
            let quota = self.quota(rate, settings.ip_burst_size.unwrap_or(settings.burst_size));
            Limit { policy: "ip", identifier: address, quota }
        });
        let Some((tenant, user)) = user else {
            let quota = self.quota(settings.requests_per_minute, settings.burst_size);
            return vec![ip.unwrap_or(Limit { policy: "default", identifier: address, quota })];
        };
        let own = self.tenants.get(tenant).await;
        let quota = self.quota(
            own.user.requests_per_minute.unwrap_or(settings.requests_per_minute),
            own.user.burst_size.unwrap_or(settings.burst_size),
        );
        let of_tenant = own.tenant.requests_per_minute.or(settings.tenant_requests_per_minute).map(|rate| {
            let burst = own.tenant.burst_size.or(settings.tenant_burst_size).unwrap_or(settings.burst_size);
            Limit { policy: "tenant", identifier: Identifier::Tenant(tenant), quota: self.quota(rate, burst) }
        });
        let of_user = Limit { policy: "default", identifier: Identifier::User(user), quota };
        [Some(of_user), of_tenant, ip].into_iter().flatten().collect()
    }

    /// Returns the limits that an attempt to log in meets: those of its networks, and that of the account.
    #[must_use]
    pub fn login_limits(&self, address: IpAddr, tenant: &str, email: &str) -> Vec<Limit> {
        let attempts = self.settings.login_attempts_per_minute;
        let mut limits = Vec::with_capacity(LOGIN_NETWORK_POLICIES.len() + 1);
        let mut allowed = attempts;
        for (policy, network) in LOGIN_NETWORK_POLICIES.into_iter().zip(networks_of(address)) {
            let identifier =
                if limits.is_empty() { Identifier::LoginIp(network.network()) } else { Identifier::LoginNetwork(network) };
            limits.push(Limit { policy, identifier, quota: Quota::of_attempts(allowed) });
            allowed = allowed.saturating_mul(WIDER_NETWORK_FACTOR);
        }
        let account = Identifier::Login(LoginSource::new(tenant, email, address));
        limits.push(Limit { policy: "login-account", identifier: account, quota: Quota::of_attempts(attempts) });
        limits
    }

    /// Remembers that an account was signed in from `address`, so that attempts from elsewhere do not keep its user out.
    ///
    /// # Errors
    /// [`StoreUnavailable`].
    pub async fn remember_login(&self, address: IpAddr, tenant: &str, email: &str) -> Result<(), StoreUnavailable> {
        self.shared.remember_login(LoginSource::new(tenant, email, address)).await
    }

    /// The refusal of such a request that the store is known to give, if there is one: asks nobody.
    #[must_use]
    pub fn known_refusal(&self, limits: &[Limit], cost: u64) -> Option<Verdict> {
        let taken = self.denials.find(limits, cost, Instant::now())?;
        Some(Verdict::new(limits.to_vec(), taken, Source::Remembered))
    }

    /// Takes `cost` from all `limits`, or from none. Never fails: while the store is away, this process counts alone.
    pub async fn take(&self, limits: Vec<Limit>, cost: u64) -> Verdict {
        match self.ask(&limits, cost).await {
            Ok(taken) => Verdict::new(limits, taken, Source::Shared),
            Err(error) => {
                tracing::debug!(%error, "counting a request in this process alone");
                let taken = self.local.count(&limits, cost);
                Verdict::new(limits, taken, Source::Local)
            }
        }
    }

    /// As [`RateLimiter::take`], for what must not be allowed while nobody can tell.
    ///
    /// # Errors
    /// [`StoreUnavailable`].
    pub async fn take_or_fail(&self, limits: Vec<Limit>, cost: u64) -> Result<Verdict, StoreUnavailable> {
        if let Some(refusal) = self.known_refusal(&limits, cost) {
            return Ok(refusal);
        }
        let taken = self.ask(&limits, cost).await?;
        Ok(Verdict::new(limits, taken, Source::Shared))
    }

    async fn ask(&self, limits: &[Limit], cost: u64) -> Result<Taken, StoreUnavailable> {
        let asked = Instant::now();
        let taken = self.shared.take(limits, cost).await?;
        self.denials.remember(limits, cost, taken, asked);
        Ok(taken)
    }

    fn quota(&self, requests_per_minute: u32, burst_size: u32) -> Quota {
        Quota::new(self.settings.algorithm, requests_per_minute, burst_size)
    }
}
