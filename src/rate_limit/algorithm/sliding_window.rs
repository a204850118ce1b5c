//! Two counters: that of the current window, which begins with the first request, and that of the one before, weighted by how
//! much of it still lies within the last window's length. Takes the requests of a window to be spread evenly over it.

use super::{State, Step, millis};
use crate::rate_limit::{Decision, Quota};

/// The last two windows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlidingWindow {
    /// When the current one began, in milliseconds.
    start: u64,
    /// What was counted in it.
    current: u64,
    /// What was counted in the one before.
    previous: u64,
    /// Length of a window, in milliseconds.
    window: u64,
}

impl SlidingWindow {
    /// The windows at `now`, in milliseconds.
    fn at(self, now: u64) -> Self {
        let windows = now.saturating_sub(self.start) / self.window;
        match windows {
            0 => self,
            1 => Self { start: self.start + self.window, current: 0, previous: self.current, window: self.window },
            _ => Self { start: now, current: 0, previous: 0, window: self.window },
        }
    }

    /// Milliseconds from `elapsed` in the current window until `charge` passes if nothing else is asked for.
    fn wait(self, elapsed: u64, limit: u64, charge: u64) -> u64 {
        let left = self.window - elapsed;
        if self.current + charge <= limit {
            // As the previous window moves out.
            left - (limit - self.current - charge) * self.window / self.previous
        } else {
            // As the current one does, once it is the previous one.
            left + self.window.saturating_sub((limit - charge) * self.window / self.current)
        }
    }
}

impl State for SlidingWindow {
    fn take(before: Option<Self>, now: u64, quota: Quota, cost: u64) -> Step<Self> {
        let (now, window, limit) = (now / 1000, quota.window_micros() / 1000, quota.limit);
        let charge = cost.min(limit);
        let mut state = before.unwrap_or(Self { start: now, current: 0, previous: 0, window }).at(now);
        let elapsed = now.saturating_sub(state.start);
        // In requests times milliseconds, so that nothing is rounded.
        let used = state.previous * (window - elapsed) + state.current * window;
        let free = (limit * window).saturating_sub(used);
        let allowed = free >= charge * window;
        let (retry_after, remaining) = if allowed {
            state.current += charge;
            (0, free / window - charge)
        } else {
            (state.wait(elapsed, limit, charge), free / window)
        };
        let forgotten = if state.current > 0 { 2 * window - elapsed } else { window - elapsed };
        let decision = Decision {
            allowed,
            limit,
            remaining,
            reset_after: millis(forgotten * 1000),
            retry_after: millis(retry_after * 1000),
        };
        Step { state: if allowed { Some(state) } else { before }, decision }
    }

    fn ends(&self) -> u64 {
        (self.start + 2 * self.window) * 1000
    }
}
