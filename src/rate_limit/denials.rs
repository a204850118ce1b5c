//! What the store refused lately, so that a flood over a limit costs the store nothing.
//!
//! A refusal says when such a request may pass at the earliest. Until then the store would refuse whatever costs as much: what
//! is counted never shrinks faster. So nobody is refused here whom the store would let pass, as long as the store forgets nothing.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::identifier::ByKind;
use super::{Decision, Identifier, Limit, Quota, Taken};

/// Refusals of a kind of identifiers that are remembered at most: some 1 MB. Beyond it the store is asked, as before.
const CAPACITY: usize = 10_000;

/// How often at most everything is looked at for what is over, once the map is full.
const CLEAR_INTERVAL: Duration = Duration::from_secs(1);

/// What the store rounds up to: its answer may be that much too long.
const ROUNDING: Duration = Duration::from_millis(1);

#[derive(Debug, Clone, Copy)]
struct Denial {
    quota: Quota,
    cost: u64,
    remaining: u64,
    until: Instant,
    whole_at: Instant,
}

#[derive(Debug, Default)]
pub(super) struct Denials {
    by_kind: Mutex<ByKind<Map>>,
}

#[derive(Debug, Default)]
struct Map {
    denials: HashMap<Identifier, Denial>,
    cleared: Option<Instant>,
}

impl Denials {
    /// The refusal that still holds for one of `limits`, if one does: that with the longest wait, if several do.
    pub(super) fn find(&self, limits: &[Limit], cost: u64, now: Instant) -> Option<Taken> {
        let by_kind = self.by_kind.lock().unwrap_or_else(PoisonError::into_inner);
        let holding = limits.iter().enumerate().filter_map(|(place, limit)| {
            let denial = by_kind.of(limit.identifier).denials.get(&limit.identifier)?;
            let holds = now < denial.until && cost >= denial.cost && denial.quota == limit.quota;
            holds.then_some((place, denial))
        });
        let (tightest, denial) = holding.min_by_key(|(_, denial)| Reverse(denial.until))?;
        let decision = Decision {
            allowed: false,
            limit: denial.quota.limit,
            remaining: denial.remaining,
            reset_after: denial.whole_at.saturating_duration_since(now),
            retry_after: denial.until.saturating_duration_since(now),
        };
        Some(Taken { tightest, decision })
    }

    /// Remembers what the store said of a request that it was asked about at `asked`, or later.
    pub(super) fn remember(&self, limits: &[Limit], cost: u64, taken: Taken, asked: Instant) {
        let Some(limit) = limits.get(taken.tightest).filter(|_| !taken.decision.allowed) else { return };
        let denial = Denial {
            quota: limit.quota,
            cost,
            remaining: taken.decision.remaining,
            until: asked + taken.decision.retry_after.saturating_sub(ROUNDING),
            whole_at: asked + taken.decision.reset_after,
        };
        let mut by_kind = self.by_kind.lock().unwrap_or_else(PoisonError::into_inner);
        by_kind.of_mut(limit.identifier).insert(limit.identifier, denial, asked);
    }
}

impl Map {
    fn insert(&mut self, identifier: Identifier, denial: Denial, now: Instant) {
        if let Some(before) = self.denials.get_mut(&identifier) {
            // The refusal of a cheaper request says more.
            if now >= before.until || denial.quota != before.quota || denial.cost <= before.cost {
                *before = denial;
            }
            return;
        }
        if self.denials.len() >= CAPACITY && self.cleared.is_none_or(|cleared| now >= cleared + CLEAR_INTERVAL) {
            self.denials.retain(|_, denial| now < denial.until);
            self.cleared = Some(now);
        }
        if self.denials.len() < CAPACITY {
            self.denials.insert(identifier, denial);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::domain::UserId;

    const QUOTA: Quota = Quota { limit: 10, per_window: 10, window: Duration::from_secs(60) };

    fn limit() -> Limit {
        Limit { policy: "default", identifier: Identifier::User(UserId::new()), quota: QUOTA }
    }

    fn refusal(seconds: u64) -> Taken {
        let retry_after = Duration::from_secs(seconds);
        let decision = Decision { allowed: false, limit: 10, remaining: 0, reset_after: retry_after, retry_after };
        Taken { tightest: 0, decision }
    }

    #[test]
    fn a_refusal_holds_until_its_time_for_what_costs_as_much_and_for_the_same_quota() {
        let (denials, now, limit) = (Denials::default(), Instant::now(), limit());
        denials.remember(&[limit], 3, refusal(10), now);
        let found = |limit: Limit, cost, seconds| denials.find(&[limit], cost, now + Duration::from_secs(seconds));
        assert!(found(limit, 3, 0).is_some() && found(limit, 5, 9).is_some());
        assert_eq!(found(limit, 2, 0), None);
        assert_eq!(found(limit, 3, 10), None);
        assert_eq!(found(Limit { quota: Quota { limit: 20, ..QUOTA }, ..limit }, 3, 0), None);
        // The refusal of a cheaper request replaces that of a dearer one, not the other way round.
        denials.remember(&[limit], 1, refusal(20), now);
        denials.remember(&[limit], 5, refusal(5), now);
        let seconds = found(limit, 1, 9).expect("remembered").decision.retry_after.as_secs_f64();
        assert!((10.9..11.0).contains(&seconds), "{seconds}");
    }

    #[test]
    fn of_several_refusals_that_with_the_longest_wait_holds() {
        let (denials, now) = (Denials::default(), Instant::now());
        let limits = [limit(), limit(), limit()];
        for (place, seconds) in [(0, 10), (1, 30), (2, 20)] {
            denials.remember(&limits, 1, Taken { tightest: place, ..refusal(seconds) }, now);
        }
        let found = |seconds| denials.find(&limits, 1, now + Duration::from_secs(seconds)).expect("one holds");
        assert_eq!((found(0).tightest, found(29).tightest), (1, 1));
        assert!(found(0).decision.retry_after > Duration::from_secs(29));
    }

    #[test]
    fn refusals_of_addresses_push_out_none_of_users() {
        let (denials, now, user) = (Denials::default(), Instant::now(), limit());
        for number in 0..u32::try_from(CAPACITY).expect("small") {
            let address = Identifier::Ip(Ipv4Addr::from_bits(number).into());
            denials.remember(&[Limit { identifier: address, ..user }], 1, refusal(10), now);
        }
        denials.remember(&[user], 1, refusal(10), now);
        assert!(denials.find(&[user], 1, now).is_some());
    }

    #[test]
    fn what_was_allowed_is_not_remembered_and_memory_is_bounded() {
        let (denials, now, first) = (Denials::default(), Instant::now(), limit());
        let allowed = Taken { decision: Decision { allowed: true, ..refusal(0).decision }, ..refusal(0) };
        denials.remember(&[first], 1, allowed, now);
        assert_eq!(denials.find(&[first], 1, now), None);
        for _ in 0..CAPACITY {
            denials.remember(&[limit()], 1, refusal(10), now);
        }
        denials.remember(&[first], 1, refusal(10), now);
        assert_eq!(denials.find(&[first], 1, now), None);
        let later = now + Duration::from_secs(10);
        denials.remember(&[first], 1, refusal(10), later);
        assert!(denials.find(&[first], 1, later).is_some());
    }
}
