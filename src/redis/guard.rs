//! A circuit breaker around Redis itself, for this process alone: while Redis does not answer, callers are told so at once
//! instead of each waiting out the same deadline.
//!
//! A state machine with the time as an argument. Only silence counts as a failure: an error reply is an answer. While it is open,
//! one caller at a time tries whether Redis is back, so the first answer ends the outage for everybody.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Unanswered calls in a row that open it.
const FAILURES: u32 = 3;

/// How long nobody asks after an unanswered call: an outage ends for callers no later than this after it has ended.
const PAUSE: Duration = Duration::from_millis(200);

/// Knows whether Redis answers.
#[derive(Debug)]
pub(super) struct Guard(Mutex<State>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Redis answers, or so many calls in a row went unanswered.
    Closed { unanswered: u32 },
    /// Redis does not answer; asked again from then on.
    Open { until: Instant },
    /// One caller is asking whether it is back.
    Probing,
}

/// Leave to ask Redis. Dropped without a verdict (the caller went away), it says nothing for or against Redis.
#[derive(Debug)]
pub(super) struct Permit<'a> {
    guard: &'a Guard,
    probe: bool,
}

impl Guard {
    pub(super) const fn new() -> Self {
        Self(Mutex::new(State::Closed { unanswered: 0 }))
    }

    /// Leave to ask, unless Redis is known not to answer.
    pub(super) fn admit(&self, now: Instant) -> Option<Permit<'_>> {
        let mut state = self.lock();
        match *state {
            State::Closed { .. } => Some(Permit { guard: self, probe: false }),
            State::Open { until } if now >= until => {
                *state = State::Probing;
                Some(Permit { guard: self, probe: true })
            }
            State::Open { .. } | State::Probing => None,
        }
    }

    /// The state. Each change is one assignment, so a panic elsewhere cannot have left it half-made.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Permit<'_> {
    /// Redis answered.
    pub(super) fn answered(mut self) {
        let mut state = self.guard.lock();
        if !matches!(*state, State::Closed { .. }) {
            tracing::info!("Redis answers again");
        }
        *state = State::Closed { unanswered: 0 };
        self.probe = false;
    }

    /// Redis did not answer. Returns whether it is known not to, from now on or still.
    pub(super) fn unanswered(mut self, now: Instant) -> bool {
        let mut state = self.guard.lock();
        let until = now + PAUSE;
        *state = match *state {
            State::Closed { unanswered } if unanswered + 1 < FAILURES => State::Closed { unanswered: unanswered + 1 },
            State::Closed { .. } => {
                tracing::warn!("Redis does not answer: calls are refused at once until it does");
                State::Open { until }
            }
            State::Probing if self.probe => State::Open { until },
            // A call from before it opened tells nothing new.
            open => open,
        };
        self.probe = false;
        !matches!(*state, State::Closed { .. })
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        if self.probe {
            let mut state = self.guard.lock();
            if *state == State::Probing {
                *state = State::Open { until: Instant::now() };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(guard: &Guard, now: Instant) {
        for _ in 0..FAILURES {
            guard.admit(now).expect("closed").unanswered(now);
        }
    }

    #[test]
    fn silence_in_a_row_opens_it_and_an_answer_between_does_not() {
        let (guard, now) = (Guard::new(), Instant::now());
        for _ in 0..FAILURES {
            guard.admit(now).expect("closed").unanswered(now);
            guard.admit(now).expect("closed").answered();
        }
        open(&guard, now);
        assert!(guard.admit(now).is_none());
    }

    #[test]
    fn one_caller_at_a_time_tries_whether_redis_is_back() {
        let (guard, start) = (Guard::new(), Instant::now());
        open(&guard, start);
        let later = start + PAUSE;
        let probe = guard.admit(later).expect("the first to ask");
        assert!(guard.admit(later).is_none());
        probe.unanswered(later);
        assert!(guard.admit(later).is_none());
        guard.admit(later + PAUSE).expect("the next").answered();
        assert!(guard.admit(later + PAUSE).is_some());
    }

    #[test]
    fn a_caller_that_goes_away_frees_the_probe_and_says_nothing() {
        let (guard, start) = (Guard::new(), Instant::now());
        drop(guard.admit(start));
        open(&guard, start);
        drop(guard.admit(start + PAUSE).expect("the first to ask"));
        assert!(guard.admit(Instant::now() + PAUSE).is_some());
    }

    #[test]
    fn calls_from_before_it_opened_neither_prolong_nor_wedge_it() {
        let (guard, start) = (Guard::new(), Instant::now());
        let (late, lucky) = (guard.admit(start).expect("closed"), guard.admit(start).expect("closed"));
        open(&guard, start);
        late.unanswered(start + PAUSE / 2);
        let probe = guard.admit(start + PAUSE).expect("not prolonged");
        lucky.answered();
        assert!(guard.admit(start + PAUSE).is_some(), "any answer closes it");
        drop(probe);
        assert!(guard.admit(start + PAUSE).is_some());
    }
}
