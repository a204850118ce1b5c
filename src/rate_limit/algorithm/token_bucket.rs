//! A bucket that holds as many tokens as the limit and fills up steadily, as the generic cell rate algorithm (ITU-T I.371): all
//! that is kept is the time at which it is full again.

use super::{State, Step, millis};
use crate::rate_limit::{Decision, Quota};

/// How much later than an empty bucket one may be full, in microseconds: far more than the clocks that are told differ by. One that
/// is full later still is of a clock that was set back since, or of a larger size, and is forgotten: it would refuse for as long.
const AHEAD: u64 = 60_000_000;

/// A bucket that is not full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenBucket {
    full_at: u64,
}

impl State for TokenBucket {
    fn take(before: Option<Self>, now: u64, quota: Quota, cost: u64) -> Step<Self> {
        let (limit, interval) = (quota.limit, quota.interval_micros());
        let charge = cost.min(limit);
        let empty_at = now + limit * interval;
        let full_at = before.map_or(now, |bucket| bucket.full_at).max(now);
        let full_at = if full_at > empty_at + AHEAD { now } else { full_at };
        let charged = full_at + charge * interval;
        let allowed = charged <= empty_at;
        let after = if allowed { charged } else { full_at };
        let decision = Decision {
            allowed,
            limit,
            remaining: empty_at.saturating_sub(after) / interval,
            reset_after: millis(after - now),
            retry_after: millis(charged.saturating_sub(empty_at)),
        };
        Step { state: if allowed { Some(Self { full_at: charged }) } else { before }, decision }
    }

    fn ends(&self) -> u64 {
        self.full_at
    }
}
