//! What an agent's terminal tells of it besides what it says: by its window title, and by answers to choose from at the end of its
//! screen. A title is the agent's own word, where a quiet screen is but a guess.

use std::time::{Duration, Instant};

use super::super::format::Activity;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Signs {
    /// What the title tells, if it is of a kind that is known.
    says: Option<Activity>,
    /// The agent has worked since it was last sent something. An idle title before that is of an earlier time.
    worked: bool,
    /// When it will have told for long enough that the agent waits; titles flicker.
    holds_at: Option<Instant>,
    /// It has.
    holds: bool,
    /// The screen offers answers to choose from.
    choice: bool,
}

impl Signs {
    /// The title tells `says` now. Returns whether that is new.
    pub(super) fn title(&mut self, says: Option<Activity>, now: Instant, steady_after: Duration) -> bool {
        if self.says == says {
            return false;
        }
        let waits = match says {
            Some(Activity::Busy) | None => false,
            Some(Activity::Idle) => self.worked,
            Some(Activity::Asks) => true,
        };
        self.worked |= says == Some(Activity::Busy);
        self.holds = false;
        self.holds_at = waits.then_some(now + steady_after);
        self.says = says;
        true
    }

    /// Whether the screen offers answers to choose from.
    pub(super) fn screen(&mut self, offers_choice: bool) {
        self.choice = offers_choice;
    }

    /// The agent was sent something.
    pub(super) fn sent(&mut self) {
        self.worked = self.says == Some(Activity::Busy);
        self.holds = false;
        self.holds_at = None;
    }

    /// When [`Self::tick`] is due.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.holds_at
    }

    /// Time went by.
    pub(super) fn tick(&mut self, now: Instant) {
        if self.holds_at.is_some_and(|at| at <= now) {
            self.holds_at = None;
            self.holds = true;
        }
    }

    /// Whether the title tells that the agent works, however quiet its screen is.
    pub(super) fn is_busy(&self) -> bool {
        self.says == Some(Activity::Busy)
    }

    /// Whether the title has told for long enough that the agent waits for its user, whatever moves on its screen.
    pub(super) fn tells_waiting(&self) -> bool {
        self.holds
    }

    /// Whether the agent asks something.
    pub(super) fn asks(&self) -> bool {
        self.choice || self.says == Some(Activity::Asks)
    }
}
