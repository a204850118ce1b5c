//! What is cached, and how.

use std::marker::PhantomData;
use std::time::Duration;

use crate::domain::{CacheId, CacheKey, TenantId};

/// Lives differ by this part of themselves, up and down, so that what was cached together is not read again together.
const JITTER: f64 = 0.1;

/// A kind of cached value: a `T` for each `I` of a tenant.
#[derive(Debug)]
pub struct Kind<I, T> {
    policy: Policy,
    of: PhantomData<fn(I) -> T>,
}

/// How long and how large the values of a kind may be. The lives are subject to jitter of a tenth.
#[derive(Debug, Clone, Copy)]
pub struct Policy {
    /// The kind's name, in keys and metrics. What is kept under a name keeps its form: another form takes another name.
    pub name: &'static str,
    /// How long a process that shares a store goes by what it knows without asking the store.
    pub near: Duration,
    /// How long a value is kept where it is kept longest.
    pub life: Duration,
    /// What a value may take at most, in bytes of JSON; larger ones are not cached.
    pub max_bytes: usize,
}

impl<I: CacheId, T> Kind<I, T> {
    /// A kind that is cached by `policy`.
    #[must_use]
    pub const fn new(policy: Policy) -> Self {
        Self { policy, of: PhantomData }
    }

    pub(super) const fn policy(&self) -> Policy {
        self.policy
    }

    /// Where a value is cached.
    #[must_use]
    pub fn key(&self, tenant: TenantId, id: &I) -> CacheKey {
        CacheKey::new(tenant, self.policy.name, id)
    }
}

/// A life near `life`, by a random number.
pub(super) fn jittered(life: Duration, random: u32) -> Duration {
    let part = f64::from(random) / f64::from(u32::MAX);
    life.mul_f64(1.0 - JITTER + 2.0 * JITTER * part)
}

/// The longest of the lives near `life`.
pub(super) fn longest_life(life: Duration) -> Duration {
    jittered(life, u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lives_differ_by_a_tenth_at_most() {
        let life = Duration::from_secs(100);
        let seconds = |random| (jittered(life, random) + Duration::from_millis(1)).as_secs();
        assert_eq!([0, u32::MAX / 4, u32::MAX / 2, u32::MAX].map(seconds), [90, 95, 100, 110]);
    }
}
