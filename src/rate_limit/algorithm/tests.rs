use std::time::Duration;

use super::*;
use crate::rate_limit::quota::WINDOW;

const SECOND: u64 = 1_000_000;

/// What is expected: allowed, remaining, seconds to reset, seconds to wait.
type Expected = (bool, u64, u64, u64);

/// Takes at these seconds with this cost.
fn trace<S: State>(quota: Quota, steps: &[(u64, u64, Expected)]) {
    let mut state = None;
    for &(second, cost, (allowed, remaining, reset, retry)) in steps {
        let step = S::take(state, second * SECOND, quota, cost);
        let [reset_after, retry_after] = [reset, retry].map(Duration::from_secs);
        let expected = Decision { allowed, limit: quota.limit, remaining, reset_after, retry_after };
        assert_eq!(step.decision, expected, "second {second}");
        state = step.state;
    }
}

const THREE: Quota = Quota { limit: 3, per_window: 3, window: WINDOW };

#[test]
fn a_fixed_window_allows_the_limit_until_it_ends() {
    trace::<FixedWindow>(
        THREE,
        &[
            (0, 1, (true, 2, 60, 0)),
            (1, 3, (false, 2, 59, 59)),
            (1, 1, (true, 1, 59, 0)),
            (2, 1, (true, 0, 58, 0)),
            (3, 1, (false, 0, 57, 57)),
            (59, 1, (false, 0, 1, 1)),
            (60, 5, (true, 0, 60, 0)),
        ],
    );
}

#[test]
fn a_sliding_window_forgets_steadily() {
    trace::<SlidingWindow>(
        THREE,
        &[
            (0, 3, (true, 0, 120, 0)),
            (10, 1, (false, 0, 110, 70)),
            // A third of the previous window has moved out.
            (80, 1, (true, 0, 100, 0)),
            (81, 1, (false, 0, 99, 19)),
            (100, 1, (true, 0, 80, 0)),
            (300, 1, (true, 2, 120, 0)),
        ],
    );
}

#[test]
fn a_token_bucket_fills_up_steadily() {
    let quota = Quota { limit: 5, per_window: 6, window: WINDOW };
    trace::<TokenBucket>(
        quota,
        &[
            (0, 5, (true, 0, 50, 0)),
            (0, 1, (false, 0, 50, 10)),
            (10, 2, (false, 1, 40, 10)),
            (10, 1, (true, 0, 50, 0)),
            (100, 1, (true, 4, 10, 0)),
        ],
    );
}

#[test]
fn who_waits_as_long_as_told_passes_and_no_sooner() {
    fn check<S: State>(quota: Quota) {
        let mut state = None;
        let mut now = 1_000 * SECOND;
        for turn in 0..2_000_u64 {
            let cost = 1 + turn % 4;
            now += turn * 7_919 % 9_000 * 1_000;
            let step = S::take(state, now, quota, cost);
            if !step.decision.allowed {
                let wait = u64::try_from(step.decision.retry_after.as_micros()).expect("small");
                assert!(wait >= 1_000, "turn {turn}");
                assert!(S::take(step.state, now + wait, quota, cost).decision.allowed, "turn {turn}");
                assert!(!S::take(step.state, now + wait - 1_000, quota, cost).decision.allowed, "turn {turn}");
            }
            state = step.state;
        }
    }
    let quota = Quota { limit: 7, per_window: 11, window: WINDOW };
    check::<FixedWindow>(quota);
    check::<SlidingWindow>(quota);
    check::<TokenBucket>(quota);
}

/// Servers know Redis' clock to half a round trip: what that is wrong by neither lets more through, nor keeps it out for long.
#[test]
fn servers_that_know_the_time_badly_allow_as_much() {
    /// What is allowed in ten minutes of more than is allowed, asked for by two servers in turn, one of them late.
    fn allowed<S: State>(quota: Quota, late: u64) -> u64 {
        let mut state = None;
        let told = (0..20_000).map(|turn| 1_000 * SECOND + turn * 30_000 - if turn % 2 == 0 { late } else { 0 });
        let take = |now| {
            let step = S::take(state, now, quota, 1);
            state = step.state;
            u64::from(step.decision.allowed)
        };
        told.map(take).sum()
    }
    fn check<S: State>(quota: Quota) {
        let exact = allowed::<S>(quota, 0);
        for late in [1_000, 50_000, 250_000, 1_000_000] {
            let difference = allowed::<S>(quota, late).abs_diff(exact);
            // As much as is regained in that time.
            let bound = quota.per_window * late / quota.window_micros() + 2;
            assert!(exact > 500 && difference <= bound, "{difference} of {exact} for {late} µs");
        }
    }
    let quota = Quota { limit: 60, per_window: 60, window: WINDOW };
    check::<SlidingWindow>(quota);
    check::<TokenBucket>(quota);
    check::<TokenBucket>(Quota { limit: 10, per_window: 600, window: WINDOW });
}

#[test]
fn a_clock_that_is_set_back_keeps_nobody_out_for_long_and_the_wait_is_true() {
    fn check<S: State>(quota: Quota, longest: Duration) {
        for back in [1, 30, 59, 60, 61, 3_600, 90_000] {
            let (mut state, now) = (None, 100_000 * SECOND);
            for _ in 0..=quota.limit {
                state = S::take(state, now, quota, 1).state;
            }
            let now = now - back * SECOND;
            let step = S::take(state, now, quota, 1);
            assert!(step.decision.retry_after <= longest, "{back} s: {:?}", step.decision);
            let wait = u64::try_from(step.decision.retry_after.as_micros()).expect("small");
            assert!(S::take(step.state, now + wait, quota, 1).decision.allowed, "{back} s");
        }
    }
    check::<FixedWindow>(THREE, WINDOW);
    check::<SlidingWindow>(THREE, 3 * WINDOW);
    check::<TokenBucket>(THREE, 2 * WINDOW);
}

/// A client that waits as told is not refused by the other limit then.
#[test]
fn of_several_refusals_that_with_the_longest_wait_answers() {
    fn check<S: State>(expected: usize) {
        let (slow, fast) = (Quota { limit: 1, per_window: 1, window: WINDOW }, Quota { limit: 1, per_window: 3, window: WINDOW });
        let (mut early, mut late) = ([(None, fast)], [(None, slow)]);
        assert!(take_all::<S>(&mut early, 0, 1).decision.allowed);
        assert!(take_all::<S>(&mut late, 10 * SECOND, 1).decision.allowed);
        let taken = take_all(&mut [early[0], late[0]], 11 * SECOND, 1);
        assert_eq!((taken.decision.allowed, taken.tightest), (false, expected));
        let equal = take_all(&mut [early[0], early[0]], 11 * SECOND, 1);
        assert_eq!((equal.decision.allowed, equal.tightest), (false, 0));
    }
    // Its script stops at the first that refuses: to ask on would be more commands.
    check::<FixedWindow>(0);
    check::<SlidingWindow>(1);
    check::<TokenBucket>(1);
}

#[test]
fn a_refusal_charges_no_other_limit() {
    fn check<S: State>() {
        let one = Quota { limit: 1, per_window: 1, window: WINDOW };
        let mut states: [(Option<S>, Quota); 2] = [(None, THREE), (None, one)];
        let first = take_all(&mut states, 0, 1);
        assert_eq!((first.tightest, first.decision.allowed, first.decision.limit), (1, true, 1));
        for _ in 0..5 {
            let refused = take_all(&mut states, 0, 1);
            assert_eq!((refused.tightest, refused.decision.allowed), (1, false));
        }
        assert_eq!(S::take(states[0].0, 0, THREE, 1).decision.remaining, 1);
    }
    check::<FixedWindow>();
    check::<SlidingWindow>();
    check::<TokenBucket>();
}
