//! Redis' own clock, known here without asking: scripts that need the time are told it, which costs them no command.
//!
//! Every server tells the same clock, Redis', so that the servers' own clocks need not agree. What is told is off by half a round
//! trip at most, and by what two machines' clocks drift apart until the next reading.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redis::{RedisError, RedisResult};
use tokio::time::Instant;

use super::link::Link;

/// For how long a reading is as good as new: clocks of two machines drift apart by some 6 ms meanwhile (100 ppm).
const FRESH: Duration = Duration::from_secs(60);

/// For how long a reading is used at all, if no newer one can be had.
const USABLE: Duration = Duration::from_secs(600);

/// What is known of Redis' clock.
#[derive(Debug, Default)]
pub(super) struct Clock(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    reading: Option<Reading>,
    /// Since when somebody reads the clock beside the requests.
    renewing: Option<Instant>,
}

/// What Redis' clock said at a moment, in microseconds since 1970.
#[derive(Debug, Clone, Copy)]
struct Reading {
    at: Instant,
    micros: u64,
}

/// What a caller is to do about the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Known {
    /// Tell it, in microseconds since 1970.
    Fresh(u64),
    /// Tell it, and read the clock anew beside the request: this caller and no other for now.
    Aging(u64),
    /// Read the clock first.
    Unknown,
}

impl Clock {
    /// The time at `now`, if it is known.
    pub(super) fn at(&self, now: Instant) -> Known {
        let mut state = self.lock();
        let Some(Reading { at, micros }) = state.reading else { return Known::Unknown };
        let age = now.saturating_duration_since(at);
        let time = micros.saturating_add(u64::try_from(age.as_micros()).unwrap_or(u64::MAX));
        if age >= USABLE {
            return Known::Unknown;
        }
        if age < FRESH || state.renewing.is_some_and(|since| now < since + FRESH) {
            return Known::Fresh(time);
        }
        state.renewing = Some(now);
        Known::Aging(time)
    }

    /// Reads the clock: one round trip.
    pub(super) async fn read(&self, link: &mut Link) -> RedisResult<u64> {
        let asked = Instant::now();
        let (seconds, micros): (u64, u64) = redis::cmd("TIME").query_async(link).await?;
        let out_of_range = || RedisError::from((redis::ErrorKind::UnexpectedReturnType, "a time out of range"));
        let said = seconds.checked_mul(1_000_000).and_then(|whole| whole.checked_add(micros)).ok_or_else(out_of_range)?;
        self.learn(said, asked, Instant::now());
        Ok(said)
    }

    /// Remembers what was said to a question of `asked`, answered at `answered`: most likely half-way.
    fn learn(&self, micros: u64, asked: Instant, answered: Instant) {
        let at = asked + answered.saturating_duration_since(asked) / 2;
        *self.lock() = State { reading: Some(Reading { at, micros }), renewing: None };
    }

    /// Forgets it: another Redis, with another clock, may answer from now on.
    pub(super) fn forget(&self) {
        *self.lock() = State::default();
    }

    /// The state. Each change is one assignment, so a panic elsewhere cannot have left it half-made.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: u64 = 1_795_000_000_000_000;

    #[test]
    fn the_time_goes_on_from_the_middle_of_the_round_trip() {
        let (clock, asked) = (Clock::default(), Instant::now());
        assert_eq!(clock.at(asked), Known::Unknown);
        clock.learn(SAID, asked, asked + Duration::from_millis(10));
        let at = |millis| clock.at(asked + Duration::from_millis(millis));
        assert_eq!(at(5), Known::Fresh(SAID));
        assert_eq!(at(1_005), Known::Fresh(SAID + 1_000_000));
        // A caller that looked at its own clock before the reading was made.
        assert_eq!(at(0), Known::Fresh(SAID));
    }

    #[test]
    fn an_aging_reading_is_renewed_by_one_caller_and_used_meanwhile() {
        let (clock, start) = (Clock::default(), Instant::now());
        clock.learn(SAID, start, start);
        let fresh = u64::try_from(FRESH.as_micros()).expect("small");
        assert_eq!(clock.at(start + FRESH), Known::Aging(SAID + fresh));
        assert_eq!(clock.at(start + FRESH), Known::Fresh(SAID + fresh));
        // Whoever was to renew it did not: somebody else is.
        assert_eq!(clock.at(start + FRESH * 2), Known::Aging(SAID + fresh * 2));
        clock.learn(SAID, start + FRESH * 2, start + FRESH * 2);
        assert_eq!(clock.at(start + FRESH * 2), Known::Fresh(SAID));
    }

    #[test]
    fn what_is_old_or_of_another_redis_is_not_believed() {
        let (clock, start) = (Clock::default(), Instant::now());
        clock.learn(SAID, start, start);
        assert_eq!(clock.at(start + USABLE), Known::Unknown);
        clock.forget();
        assert_eq!(clock.at(start), Known::Unknown);
    }
}
