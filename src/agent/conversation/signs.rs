//! What an agent's terminal tells of it besides what it says: by its window title, and by answers to choose from at the end of its
//! screen. A title is the agent's own word, where a quiet screen is but a guess.

use std::time::{Duration, Instant};

use super::super::format::{Activity, Question};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Signs {
    /// What the title tells, if it is of a kind that is known.
    says: Option<Activity>,
    /// The agent has worked since it was last given something to do. An idle title before that is of an earlier time.
    worked: bool,
    /// The title tells that the agent waits.
    title: Sign,
    /// What the screen shows of a question.
    question: Question,
    /// The screen offers answers to choose from.
    choice: Sign,
}

/// A sign that must stand for a while before it counts: titles flicker, and screens are drawn piece by piece.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Sign {
    /// It is not seen.
    #[default]
    Absent,
    /// It is seen, and will count from then on.
    Counts(Instant),
    /// It has stood for long enough.
    Stands,
}

impl Sign {
    /// It is seen or not. Where it was seen before, it stands since then.
    fn seen(&mut self, is_seen: bool, counts_at: Instant) {
        match self {
            _ if !is_seen => *self = Self::Absent,
            Self::Absent => *self = Self::Counts(counts_at),
            Self::Counts(_) | Self::Stands => {}
        }
    }

    fn deadline(self) -> Option<Instant> {
        match self {
            Self::Counts(at) => Some(at),
            Self::Absent | Self::Stands => None,
        }
    }

    fn tick(&mut self, now: Instant) {
        if self.deadline().is_some_and(|at| at <= now) {
            *self = Self::Stands;
        }
    }
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
        self.title = if waits { Sign::Counts(now + steady_after) } else { Sign::Absent };
        self.says = says;
        true
    }

    /// The screen shows `question`.
    pub(super) fn screen(&mut self, question: Question, now: Instant, steady_after: Duration) {
        let offers_choice = question == Question::Open;
        if self.question == Question::Open && !offers_choice {
            // One was chosen.
            self.given_work();
        }
        self.question = question;
        self.choice.seen(offers_choice, now + steady_after);
    }

    /// The agent is given something to do: what its title told before is of an earlier time. To be called before it is given, for
    /// it may have done it, and be idle again, before it is known to have taken it.
    pub(super) fn given_work(&mut self) {
        self.worked = self.says == Some(Activity::Busy);
        self.title = Sign::Absent;
    }

    /// When [`Self::tick`] is due.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.title.deadline().into_iter().chain(self.choice.deadline()).min()
    }

    /// Time went by.
    pub(super) fn tick(&mut self, now: Instant) {
        self.title.tick(now);
        self.choice.tick(now);
    }

    /// Whether the title tells that the agent works, however quiet its screen is.
    pub(super) fn is_busy(&self) -> bool {
        self.says == Some(Activity::Busy)
    }

    /// Whether it was told for long enough that the agent waits for its user, whatever moves on its screen: a question may blink for
    /// as long as it is open. While there is one, the title alone does not count: an agent may be idle before it takes answers.
    pub(super) fn tell_waiting(&self) -> bool {
        match self.question {
            Question::None => self.title == Sign::Stands,
            Question::Coming => false,
            Question::Open => self.choice == Sign::Stands && !self.is_busy(),
        }
    }

    /// Whether the agent asks something.
    pub(super) fn asks(&self) -> bool {
        self.question == Question::Open || self.says == Some(Activity::Asks)
    }
}
