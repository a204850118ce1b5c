//! How a user message gets into an agent: typed, echoed, handed in with Return, reacted to. A state machine; time comes in.

use std::sync::Arc;
use std::time::Instant;

use super::pace::Pace;

/// A message on its way.
pub(super) struct Delivery {
    pace: Pace,
    /// The screen it was typed at.
    before: Arc<str>,
    step: Step,
}

enum Step {
    /// The program has not read all of the text yet.
    Typing { until: Instant },
    /// The program is about to show the text.
    Echo { earliest: Instant, last_change: Option<Instant>, until: Instant },
    /// The program is about to react to Return, pressed when the screen was `base`.
    Reaction { base: Arc<str>, press_again: Instant, until: Instant },
}

/// What is to be done now.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Nothing.
    Wait,
    /// Press Return.
    PressReturn,
    /// The agent has the message.
    Delivered,
    /// The agent does not react.
    GiveUp,
}

impl Delivery {
    /// The text was handed to the terminal, whose screen is `before`.
    pub(super) fn start(before: Arc<str>, pace: Pace, now: Instant) -> Self {
        Self { pace, before, step: Step::Typing { until: now + pace.reaction } }
    }

    /// The program has read all of the text.
    pub(super) fn typed(&mut self, screen: &Arc<str>, now: Instant) {
        if matches!(self.step, Step::Typing { .. }) {
            let last_change = (*screen != self.before).then_some(now);
            self.step = Step::Echo { earliest: now + self.pace.before_return, last_change, until: now + self.pace.echo };
        }
    }

    /// The screen that the text was typed at.
    pub(super) fn into_before(self) -> Arc<str> {
        self.before
    }

    /// Whether the program may still have only a part of the text.
    pub(super) fn is_typing(&self) -> bool {
        matches!(self.step, Step::Typing { .. })
    }

    /// The screen changed.
    pub(super) fn screen_changed(&mut self, now: Instant) {
        if let Step::Echo { last_change, .. } = &mut self.step {
            *last_change = Some(now);
        }
    }

    /// When [`Self::next`] has something to do, if the screen does not change before.
    pub(super) fn deadline(&self) -> Instant {
        match &self.step {
            Step::Typing { until } => *until,
            Step::Echo { earliest, last_change, until } => {
                last_change.map_or(*until, |change| (change + self.pace.echo_quiet).max(*earliest).min(*until))
            }
            Step::Reaction { press_again, until, .. } => (*press_again).min(*until),
        }
    }

    /// What is to be done with `screen` at this time.
    pub(super) fn next(&mut self, screen: &Arc<str>, now: Instant) -> Action {
        let deadline = self.deadline();
        match &mut self.step {
            Step::Reaction { base, .. } if base != screen => Action::Delivered,
            _ if now < deadline => Action::Wait,
            Step::Echo { .. } => {
                self.step = Step::Reaction {
                    base: Arc::clone(screen),
                    press_again: now + self.pace.press_again,
                    until: now + self.pace.reaction,
                };
                Action::PressReturn
            }
            Step::Reaction { press_again, until, .. } if now < *until => {
                *press_again = now + self.pace.press_again;
                Action::PressReturn
            }
            Step::Typing { .. } | Step::Reaction { .. } => Action::GiveUp,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    use super::super::pace::Pace;
    use super::{Action, Delivery};

    fn screen(text: &str) -> Arc<str> {
        Arc::from(text)
    }

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn return_follows_a_quiet_echo_and_any_change_is_a_reaction() {
        let start = Instant::now();
        let mut delivery = Delivery::start(screen(""), Pace::default(), start);
        delivery.typed(&screen(""), start);
        assert_eq!(delivery.next(&screen(""), start + 60 * MS), Action::Wait, "no echo yet");
        delivery.screen_changed(start + 70 * MS);
        assert_eq!(delivery.deadline(), start + 120 * MS);
        assert_eq!(delivery.next(&screen("hi"), start + 120 * MS), Action::PressReturn);
        assert_eq!(delivery.next(&screen("hi"), start + 130 * MS), Action::Wait);
        assert_eq!(delivery.next(&screen("hi\nhi"), start + 140 * MS), Action::Delivered);
    }

    #[test]
    fn return_is_not_pressed_with_the_text_even_if_the_echo_is_early() {
        let start = Instant::now();
        let pace = Pace { echo_quiet: MS, ..Pace::default() };
        let mut delivery = Delivery::start(screen(""), pace, start);
        delivery.typed(&screen("hi"), start);
        assert_eq!(delivery.next(&screen("hi"), start + 49 * MS), Action::Wait);
        assert_eq!(delivery.next(&screen("hi"), start + 50 * MS), Action::PressReturn);
    }

    #[test]
    fn a_dead_agent_gets_return_five_times() {
        let start = Instant::now();
        let mut delivery = Delivery::start(screen(""), Pace::default(), start);
        delivery.typed(&screen(""), start);
        let mut presses = Vec::new();
        loop {
            let now = delivery.deadline();
            match delivery.next(&screen(""), now) {
                Action::PressReturn => presses.push((now - start).as_secs()),
                Action::GiveUp => break assert_eq!((now - start).as_secs(), 17),
                action => panic!("{action:?}"),
            }
        }
        assert_eq!(presses, [2, 5, 8, 11, 14]);
    }

    #[test]
    fn an_agent_that_does_not_read_is_given_up() {
        let start = Instant::now();
        let mut delivery = Delivery::start(screen(""), Pace::default(), start);
        assert_eq!(delivery.deadline(), start + Pace::default().reaction);
        assert!(delivery.is_typing());
        assert_eq!(delivery.next(&screen(""), delivery.deadline()), Action::GiveUp);
    }
}
