//! Events that are applied to a circuit together, so that it is replaced once for all of them.

use rand::Rng;

use super::sealed::Written;
use super::{Answer, Circuit, Event, JITTER, Phase, Policy};
use crate::redis::Listing;

/// An event that waits for its turn.
#[derive(Debug, Clone, Copy)]
pub(super) struct Waiting {
    pub(super) seen: u64,
    pub(super) event: Event,
    pub(super) policy: Policy,
}

/// What events make of a circuit, one after the other.
pub(super) struct Applied {
    /// The circuit afterwards.
    pub(super) circuit: Circuit,
    /// What each event is answered, in their order.
    pub(super) answers: Vec<Answer>,
    /// Whether the circuit is another one than before.
    pub(super) changed: bool,
}

/// Applies events, one after the other, to the circuit that Redis has.
pub(super) fn applied(before: Option<&Written>, events: &[Waiting], now: u64) -> Applied {
    let mut circuit = before.map(|before| before.circuit.clone());
    let (mut answers, mut changed) = (Vec::with_capacity(events.len()), false);
    for Waiting { seen, event, policy } in events {
        let jitter = rand::rng().random_range(0..=JITTER);
        let (after, has_changed, admitted) = Circuit::apply(circuit.as_ref(), *seen, *event, policy, jitter, now);
        answers.push(Answer { admitted, circuit: after.snapshot(now) });
        changed |= has_changed;
        // What is only remembered by who asks is kept for nobody.
        if has_changed {
            circuit = Some(after);
        }
    }
    Applied { circuit: circuit.unwrap_or_else(|| Circuit::new(0)), answers, changed }
}

/// What becomes of the service on the list of those whose circuit is not closed.
pub(super) fn listing(before: Option<&Written>, after: &Written, events: &[Waiting]) -> Listing {
    let was_closed = before.is_none_or(|before| before.circuit.phase == Phase::Closed);
    let is_reset = || events.iter().any(|waiting| waiting.event == Event::Reset);
    match after.circuit.phase {
        Phase::Open | Phase::HalfOpen => Listing::Add,
        Phase::Closed if !was_closed || is_reset() => Listing::Remove,
        Phase::Closed => Listing::Keep,
    }
}
