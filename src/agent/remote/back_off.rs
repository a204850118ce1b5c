//! When to connect again.

use std::time::Duration;

use rand::Rng;

use super::RemoteError;
use crate::outbound::OutboundError;

/// Wait before the second attempt; each further one is twice as long, up to [`LONGEST`].
const FIRST: Duration = Duration::from_millis(200);

/// Longest wait, but for what a circuit breaker asks for.
const LONGEST: Duration = Duration::from_secs(30);

/// A connection that held so long was a good one: what comes after it begins anew.
const GOOD: Duration = Duration::from_secs(10);

/// Waits that grow, and differ from agent to agent, so that a server that is back is not asked by all at once.
#[derive(Debug)]
pub(super) struct BackOff(Duration);

impl Default for BackOff {
    fn default() -> Self {
        Self(FIRST)
    }
}

impl BackOff {
    /// How long to wait, after a connection held for `held`, and why it ended.
    pub(super) fn after(&mut self, held: Option<Duration>, why: &RemoteError) -> Duration {
        if held.is_some_and(|held| held >= GOOD) {
            *self = Self::default();
        }
        let wait = self.0.mul_f64(rand::rng().random_range(0.5..1.5));
        self.0 = (self.0 * 2).min(LONGEST);
        match why {
            RemoteError::NoAnswer(OutboundError::CircuitOpen { retry_after } | OutboundError::HeldBack { retry_after }) => {
                // Not all who were told the same moment come in it.
                wait.max(*retry_after + FIRST.mul_f64(rand::rng().random()))
            }
            _ => wait,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_until_a_connection_holds() {
        let (mut back_off, why) = (BackOff::default(), RemoteError::BrokenOff);
        let mut wait = |held| back_off.after(held, &why);
        let brief = Some(Duration::from_secs(1));
        for factor in [1, 2, 4, 8, 16, 32, 64, 128] {
            let middle = FIRST * factor;
            assert!((middle / 2..=middle * 3 / 2).contains(&wait(brief)), "{factor}");
        }
        for _ in 0..10 {
            assert!((LONGEST / 2..=LONGEST * 3 / 2).contains(&wait(None)));
        }
        assert!(wait(Some(GOOD)) <= FIRST * 3 / 2);
    }

    #[test]
    fn an_open_circuit_is_waited_for() {
        let retry_after = Duration::from_secs(90);
        let why = RemoteError::NoAnswer(OutboundError::CircuitOpen { retry_after });
        assert!((retry_after..retry_after + FIRST).contains(&BackOff::default().after(None, &why)));
    }
}
