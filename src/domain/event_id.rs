//! Ids of what is told of an agent, by which a watcher resumes where it was cut off.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::Expected;

/// Bits that count the events of one life: enough for a thousand a second over thirty years.
const COUNT_BITS: u32 = 40;

/// Which life of an agent it is: 1 when it is created, one more with each restart, wherever it runs. What an earlier life still
/// tries to write is refused by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fence(i64);

impl Fence {
    /// The fence of a new agent.
    pub const FIRST: Self = Self(1);

    /// Takes a fence as it was stored.
    #[must_use]
    pub const fn from_i64(fence: i64) -> Self {
        Self(fence)
    }

    /// The fence as it is stored.
    #[must_use]
    pub const fn as_i64(self) -> i64 {
        self.0
    }
}

/// Names an event of an agent: a later event has a greater id, over restarts and on every server.
///
/// Who knows everything up to an id lacks what has a greater one, and nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EventId(i64);

impl EventId {
    /// Before the first event of a life, and after all those of earlier lives.
    #[must_use]
    pub const fn before(life: Fence) -> Self {
        Self(life.0 << COUNT_BITS)
    }

    /// The event after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// The event before this one.
    #[must_use]
    pub const fn previous(self) -> Self {
        Self(self.0 - 1)
    }

    /// Takes an id as it was stored.
    #[must_use]
    pub const fn from_i64(id: i64) -> Self {
        Self(id)
    }

    /// The id as it is stored.
    #[must_use]
    pub const fn as_i64(self) -> i64 {
        self.0
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for EventId {
    type Err = Expected;

    fn from_str(text: &str) -> Result<Self, Expected> {
        let id = text.parse().ok().filter(|id: &i64| *id >= 0 && text.bytes().all(|b| b.is_ascii_digit()));
        id.map(Self).ok_or(Expected("the id of an event"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_of_a_life_comes_after_those_of_the_lives_before() {
        let first = EventId::before(Fence::FIRST);
        let mut late = first;
        for _ in 0..1000 {
            assert!(late.next() > late && late.next().previous() == late);
            late = late.next();
        }
        assert!(EventId::before(Fence::from_i64(2)) > late);
        // JavaScript holds whole numbers below 2^53 exactly: thousands of restarts.
        assert!(EventId::before(Fence::from_i64(8000)).as_i64() < 1 << 53);
    }

    #[test]
    fn an_id_is_read_as_it_is_written_and_nothing_else_is_one() {
        let id = EventId::before(Fence::FIRST).next();
        assert_eq!(id.to_string().parse(), Ok(id));
        for wrong in ["", "-1", "+1", " 1", "1.0", "x", "99999999999999999999"] {
            assert_eq!(wrong.parse::<EventId>(), Err(Expected("the id of an event")), "{wrong}");
        }
    }
}
