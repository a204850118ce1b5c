//! A counter that begins with the first request and lives as long as the window: the specification's flow.

use super::{State, Step, millis};
use crate::rate_limit::{Decision, Quota};

/// A window that has begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FixedWindow {
    /// What was counted in it.
    count: u64,
    /// When it ends.
    ends: u64,
}

impl State for FixedWindow {
    const FIRST_REFUSES: bool = true;

    fn take(before: Option<Self>, now: u64, quota: Quota, cost: u64) -> Step<Self> {
        let charge = cost.min(quota.limit);
        let before = before.filter(|window| now < window.ends);
        let mut window = before.unwrap_or(Self { count: 0, ends: u64::MAX });
        // Never longer than a window, whatever happened to the clock.
        window.ends = window.ends.min(now + quota.window_micros());
        let allowed = window.count + charge <= quota.limit;
        // What is over the limit is counted too, but for a dear request where a cheaper one may still pass.
        if allowed || window.count >= quota.limit {
            window.count += charge;
        }
        let reset_after = millis(window.ends - now);
        let decision = Decision {
            allowed,
            limit: quota.limit,
            remaining: quota.limit.saturating_sub(window.count),
            reset_after,
            retry_after: if allowed { std::time::Duration::ZERO } else { reset_after },
        };
        Step { state: Some(window), decision }
    }

    fn ends(&self) -> u64 {
        self.ends
    }
}
