//! The algorithms as functions of state, time, quota and cost: what the scripts in `src/redis/lua` do in Redis. A property test
//! holds both to the same answers.

mod fixed_window;
mod sliding_window;
mod token_bucket;

use std::cmp::Reverse;

use super::{Decision, Quota};

pub use self::fixed_window::FixedWindow;
pub use self::sliding_window::SlidingWindow;
pub use self::token_bucket::TokenBucket;

/// What is known of one counted thing under an algorithm. Time is in microseconds, from whatever beginning.
pub trait State: Copy {
    /// Whether of several limits that refuse the first answers, since the script stops there: to ask on would be more commands.
    /// Else that with the longest wait does, so that who waits as told is not refused by another one then.
    const FIRST_REFUSES: bool = false;

    /// Takes `cost` at `now` from what `quota` allows. A cost above the limit counts as the whole limit: it could never pass.
    fn take(before: Option<Self>, now: u64, quota: Quota, cost: u64) -> Step<Self>;

    /// When it says no more than nothing does.
    fn ends(&self) -> u64;
}

/// One limit's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step<S> {
    /// The state afterwards. If the limit allows what another refuses, the state stays as it was instead.
    pub state: Option<S>,
    /// The answer.
    pub decision: Decision,
}

/// The answer of several limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taken {
    /// Place of the limit that refused, or else of the one that has least left.
    pub tightest: usize,
    /// The answer of that limit.
    pub decision: Decision,
}

/// Takes `cost` from all limits, or, if one of them refuses, from none of the others. Changes `states` accordingly.
///
/// # Panics
/// If there are no limits.
pub fn take_all<S: State>(states: &mut [(Option<S>, Quota)], now: u64, cost: u64) -> Taken {
    let steps: Vec<Step<S>> = states.iter().map(|&(before, quota)| S::take(before, now, quota, cost)).collect();
    let mut refusals = steps.iter().enumerate().filter(|(_, step)| !step.decision.allowed);
    let refusal =
        if S::FIRST_REFUSES { refusals.next() } else { refusals.min_by_key(|(_, step)| Reverse(step.decision.retry_after)) };
    if let Some((refusing, step)) = refusal {
        states[refusing].0 = step.state;
        return Taken { tightest: refusing, decision: step.decision };
    }
    for ((state, _), step) in states.iter_mut().zip(&steps) {
        *state = step.state;
    }
    let least = steps.iter().enumerate().min_by_key(|(_, step)| step.decision.remaining);
    let (tightest, step) = least.expect("callers have at least one limit");
    Taken { tightest, decision: step.decision }
}

/// Whole milliseconds, rounded up: who waits so long is not too early.
const fn millis(micros: u64) -> std::time::Duration {
    std::time::Duration::from_millis(micros.div_ceil(1000))
}

#[cfg(test)]
mod tests;
