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
    /// Windows of this length that begin at `now`.
    const fn begin(now: u64, window: u64) -> Self {
        Self { start: now, current: 0, previous: 0, window }
    }

    /// The windows at `now`, in milliseconds. Those that begin further ahead than a window's length are of a clock that was set
    /// back since, and are forgotten: until it is there again, nobody would pass.
    fn at(self, now: u64, window: u64) -> Self {
        match now.saturating_sub(self.start) / window {
            0 if self.start > now + window => Self::begin(now, window),
            0 => Self { window, ..self },
            1 => Self { start: self.start + window, current: 0, previous: self.current, window },
            _ => Self::begin(now, window),
        }
    }

    /// Milliseconds until `charge` passes if nothing else is asked for, with `left` until the current window ends.
    fn wait(self, left: u64, limit: u64, charge: u64) -> u64 {
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
        let mut state = before.map_or(Self::begin(now, window), |before| before.at(now, window));
        // More than the window's length where it begins ahead of `now`.
        let left = state.start + window - now;
        // In requests times milliseconds, so that nothing is rounded.
        let used = state.previous * left.min(window) + state.current * window;
        let free = (limit * window).saturating_sub(used);
        let allowed = free >= charge * window;
        let (retry_after, remaining) = if allowed {
            state.current += charge;
            (0, free / window - charge)
        } else {
            (state.wait(left, limit, charge), free / window)
        };
        let forgotten = if state.current > 0 { left + window } else { left };
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
