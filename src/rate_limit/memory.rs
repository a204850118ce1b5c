//! Counting in the process: for one server alone, and for all while Redis is away.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use tokio::time::Instant;

use super::algorithm::{FixedWindow, SlidingWindow, State, Taken, TokenBucket, take_all};
use super::identifier::ByKind;
use super::known_networks::KnownNetworks;
use super::quota::WINDOW;
use super::{Identifier, Limit, LoginSource, RateLimitStore};
use crate::config::RateLimitAlgorithm;
use crate::domain::StoreUnavailable;

/// Identifiers of a kind that are counted one by one at most: some 10 MB. Beyond it all new ones of the kind share one state, so
/// that memory has a bound and a flood from many addresses is still limited.
const CAPACITY: usize = 100_000;

/// Counts in a map.
#[derive(Debug)]
pub struct MemoryRateLimitStore {
    /// Beginning of its time.
    start: Instant,
    table: Mutex<Table>,
    known: Mutex<KnownNetworks>,
}

#[derive(Debug)]
enum Table {
    FixedWindow(States<FixedWindow>),
    SlidingWindow(States<SlidingWindow>),
    TokenBucket(States<TokenBucket>),
}

#[derive(Debug)]
struct States<S> {
    by_kind: ByKind<OneKind<S>>,
    /// When what has ended is cleared next: at most once a window, since that looks at all.
    clear_at: u64,
}

/// The states of one kind of identifiers.
#[derive(Debug)]
struct OneKind<S> {
    by_identifier: HashMap<Identifier, S>,
    /// That of all for whom there was no room.
    overflow: Option<S>,
}

impl<S> Default for States<S> {
    fn default() -> Self {
        Self { by_kind: ByKind::default(), clear_at: 0 }
    }
}

impl<S> Default for OneKind<S> {
    fn default() -> Self {
        Self { by_identifier: HashMap::new(), overflow: None }
    }
}

impl<S: State> States<S> {
    fn take(&mut self, limits: &[Limit], now: u64, cost: u64) -> Taken {
        self.clear_ended(now);
        let state = |identifier| self.by_kind.of(identifier).state(identifier);
        let mut states: Vec<_> = limits.iter().map(|limit| (state(limit.identifier), limit.quota)).collect();
        let taken = take_all(&mut states, now, cost);
        for (limit, (state, _)) in limits.iter().zip(states) {
            if let Some(state) = state {
                self.by_kind.of_mut(limit.identifier).keep(limit.identifier, state);
            }
        }
        taken
    }

    fn clear_ended(&mut self, now: u64) {
        if now >= self.clear_at {
            for kind in self.by_kind.all_mut() {
                kind.by_identifier.retain(|_, state| state.ends() > now);
            }
            self.clear_at = now + u64::try_from(WINDOW.as_micros()).unwrap_or(u64::MAX);
        }
    }
}

impl<S: State> OneKind<S> {
    fn state(&self, identifier: Identifier) -> Option<S> {
        let own = self.by_identifier.get(&identifier).copied();
        own.or_else(|| self.overflow.filter(|_| self.by_identifier.len() >= CAPACITY))
    }

    fn keep(&mut self, identifier: Identifier, state: S) {
        if self.by_identifier.len() < CAPACITY || self.by_identifier.contains_key(&identifier) {
            self.by_identifier.insert(identifier, state);
        } else {
            self.overflow = Some(state);
        }
    }
}

impl MemoryRateLimitStore {
    /// Counts as `algorithm` does.
    #[must_use]
    pub fn new(algorithm: RateLimitAlgorithm) -> Self {
        let table = match algorithm {
            RateLimitAlgorithm::FixedWindow => Table::FixedWindow(States::default()),
            RateLimitAlgorithm::SlidingWindow => Table::SlidingWindow(States::default()),
            RateLimitAlgorithm::TokenBucket => Table::TokenBucket(States::default()),
        };
        Self { start: Instant::now(), table: Mutex::new(table), known: Mutex::default() }
    }

    /// Takes `cost` from all `limits`, or, if one of them refuses, from none of the others.
    pub(super) fn count(&self, limits: &[Limit], cost: u64) -> Taken {
        let limits: &[Limit] = &self.resolved(limits);
        // A panic while it was locked cannot have left a state half-made.
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let now = u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX);
        match &mut *table {
            Table::FixedWindow(states) => states.take(limits, now, cost),
            Table::SlidingWindow(states) => states.take(limits, now, cost),
            Table::TokenBucket(states) => states.take(limits, now, cost),
        }
    }

    /// The limits with the identifiers that are counted: an account as one for all networks but those that it was signed in from.
    fn resolved<'a>(&self, limits: &'a [Limit]) -> Cow<'a, [Limit]> {
        let Some((Limit { identifier: Identifier::Login(source), .. }, others)) = limits.split_last() else {
            return Cow::Borrowed(limits);
        };
        if self.known.lock().unwrap_or_else(PoisonError::into_inner).contains(*source, Instant::now()) {
            return Cow::Borrowed(limits);
        }
        let anywhere = Identifier::Login(LoginSource { network: [0; 8], ..*source });
        let last = limits.last().map(|limit| Limit { identifier: anywhere, ..*limit });
        Cow::Owned(others.iter().copied().chain(last).collect())
    }
}

#[async_trait]
impl RateLimitStore for MemoryRateLimitStore {
    async fn take(&self, limits: &[Limit], cost: u64) -> Result<Taken, StoreUnavailable> {
        Ok(self.count(limits, cost))
    }

    async fn remember_login(&self, source: LoginSource) -> Result<(), StoreUnavailable> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(source, Instant::now());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;
    use crate::domain::UserId;
    use crate::rate_limit::Quota;

    const QUOTA: Quota = Quota { limit: 2, per_window: 2, window: WINDOW };

    fn limit(identifier: Identifier) -> Limit {
        Limit { policy: "default", identifier, quota: QUOTA }
    }

    fn address(number: usize) -> Limit {
        let address = Ipv4Addr::from_bits(u32::try_from(number).expect("small"));
        limit(Identifier::Ip(IpAddr::V4(address)))
    }

    fn check<S: State>() {
        let mut states = States::<S>::default();
        let mut take = |number: usize, now| {
            let limit = address(number);
            let allowed = states.take(&[limit], now, 1).decision.allowed;
            let kind = states.by_kind.of(limit.identifier);
            (allowed, kind.by_identifier.len(), kind.overflow.is_some())
        };
        assert!((0..CAPACITY).all(|number| take(number, 0).0));
        let allowed = (CAPACITY..CAPACITY + 10).filter(|&number| take(number, 0).0).count();
        assert_eq!(allowed, 2);
        assert_eq!(take(0, 0), (true, CAPACITY, true));
        assert_eq!(take(0, 2 * QUOTA.window_micros()), (true, 1, true));
    }

    #[test]
    fn memory_is_bounded_and_a_flood_of_addresses_is_still_limited() {
        check::<FixedWindow>();
        check::<SlidingWindow>();
        check::<TokenBucket>();
    }

    #[test]
    fn addresses_that_fill_their_room_take_none_from_users() {
        let store = MemoryRateLimitStore::new(RateLimitAlgorithm::FixedWindow);
        for number in 0..=CAPACITY {
            store.count(&[address(number)], 1);
        }
        let [ada, bob] = [(); 2].map(|()| limit(Identifier::User(UserId::new())));
        for user in [ada, bob, ada, bob] {
            assert!(store.count(&[user], 1).decision.allowed);
        }
        assert!(!store.count(&[ada], 1).decision.allowed && !store.count(&[bob], 1).decision.allowed);
    }
}
