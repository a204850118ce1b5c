//! The algorithm as a function: what `fixed_window_v1.lua` does in Redis.

use std::time::Duration;

use tokio::time::Instant;

use super::{Decision, Quota};

/// A window that has begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Window {
    /// Requests in it so far.
    count: u64,
    /// When it ends.
    ends: Instant,
}

impl Window {
    /// Counts a request at `now` in the window that `before` is, or in a new one.
    pub(super) fn count(before: Option<Self>, now: Instant, quota: Quota) -> (Self, Decision) {
        let window = match before.filter(|window| now < window.ends) {
            Some(window) => Self { count: window.count + 1, ..window },
            None => Self { count: 1, ends: now + quota.window },
        };
        (window, Decision::of(quota, window.count, window.left(now)))
    }

    /// Time until it ends.
    pub(super) fn left(self, now: Instant) -> Duration {
        self.ends.saturating_duration_since(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUOTA: Quota = Quota { limit: 3, window: Duration::from_secs(60) };

    #[test]
    fn the_limit_is_allowed_and_no_more_until_the_window_ends() {
        let start = Instant::now();
        let mut window = None;
        for (second, allowed, remaining, left) in
            [(0, true, 2, 60), (1, true, 1, 59), (2, true, 0, 58), (3, false, 0, 57), (59, false, 0, 1), (60, true, 2, 60)]
        {
            let (after, decision) = Window::count(window, start + Duration::from_secs(second), QUOTA);
            let expected = Decision { allowed, limit: 3, remaining, reset_after: Duration::from_secs(left) };
            assert_eq!(decision, expected, "second {second}");
            window = Some(after);
        }
    }
}
