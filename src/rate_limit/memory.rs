//! Counting in the process: for one server alone, and for all while Redis is away.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use tokio::time::Instant;

use super::fixed_window::Window;
use super::{Decision, Identifier, Quota, RateLimitStore};
use crate::domain::StoreUnavailable;

/// Identifiers counted one by one at most: some 10 MB. Beyond it all new ones share one window, so that memory has a bound and
/// a flood from many addresses is still limited.
const CAPACITY: usize = 100_000;

/// Counts in a map of windows.
#[derive(Debug, Default)]
pub struct MemoryRateLimitStore {
    windows: Mutex<Windows>,
}

#[derive(Debug, Default)]
struct Windows {
    by_identifier: HashMap<Identifier, Window>,
    overflow: Option<Window>,
    /// When ended windows were last cleared: at most once a window, since it looks at all.
    cleared: Option<Instant>,
}

impl Windows {
    fn take(&mut self, identifier: Identifier, now: Instant, quota: Quota) -> Decision {
        self.clear_ended(now, quota);
        let room = self.by_identifier.len() < CAPACITY;
        let before = self.by_identifier.get(&identifier).copied();
        let (window, decision) = if room || before.is_some() {
            let (window, decision) = Window::count(before, now, quota);
            self.by_identifier.insert(identifier, window);
            return decision;
        } else {
            Window::count(self.overflow, now, quota)
        };
        self.overflow = Some(window);
        decision
    }

    fn clear_ended(&mut self, now: Instant, quota: Quota) {
        if self.cleared.is_none_or(|cleared| now >= cleared + quota.window) {
            self.by_identifier.retain(|_, window| !window.left(now).is_zero());
            self.cleared = Some(now);
        }
    }
}

impl MemoryRateLimitStore {
    /// Counts one request and decides on it.
    pub(super) fn count(&self, identifier: Identifier, quota: Quota) -> Decision {
        // A panic while it was locked cannot have left a window half-made.
        let mut windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        windows.take(identifier, Instant::now(), quota)
    }
}

#[async_trait]
impl RateLimitStore for MemoryRateLimitStore {
    async fn take(&self, identifier: Identifier, quota: Quota) -> Result<Decision, StoreUnavailable> {
        Ok(self.count(identifier, quota))
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};
    use std::time::Duration;

    use super::*;

    #[test]
    fn memory_is_bounded_and_a_flood_of_addresses_is_still_limited() {
        let quota = Quota { limit: 2, window: Duration::from_secs(60) };
        let (mut windows, now) = (Windows::default(), Instant::now());
        let address = |number: usize| Identifier::Ip(IpAddr::V4(Ipv4Addr::from_bits(u32::try_from(number).expect("small"))));
        for number in 0..CAPACITY {
            assert!(windows.take(address(number), now, quota).allowed);
        }
        let allowed = (CAPACITY..CAPACITY + 10).filter(|&number| windows.take(address(number), now, quota).allowed).count();
        assert_eq!((allowed, windows.by_identifier.len()), (2, CAPACITY));
        windows.take(address(0), now + quota.window, quota);
        assert_eq!(windows.by_identifier.len(), 1);
    }
}
