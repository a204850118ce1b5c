//! What this process knows of one circuit. It decides on calls by it alone; the store is told of failures, and tells of others'.
//!
//! Times are in milliseconds since the process' breakers began.

use std::time::Duration;

use super::{Circuit, Event, Phase, Policy, Snapshot};

/// How soon a half-open circuit is asked again for a probe after all were given away.
pub(super) const ASK_AGAIN_MS: u64 = 100;

/// What a caller may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Admission {
    /// Call. The circuit is closed in this generation.
    Pass(u64),
    /// Ask the store for a probe, telling it this generation.
    Ask(u64),
    /// Not call: the circuit is open.
    Open(Duration),
    /// Not call: the service asked not to be called for a while.
    HeldBack(Duration),
}

/// Outcomes that the store was not told of yet: perhaps a success, and failures after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Pending {
    pub(super) generation: u64,
    pub(super) healed: bool,
    pub(super) failures: u32,
}

impl Pending {
    pub(super) const fn event(self) -> Event {
        Event::Calls { healed: self.healed, failures: self.failures }
    }
}

/// What is known of a circuit.
#[derive(Debug)]
pub(super) struct View {
    pub(super) circuit: Circuit,
    /// Changed by everything that is learnt, so that an older answer is not taken for a newer one.
    pub(super) revision: u64,
    /// Whether the store missed something, because it was away.
    detached: bool,
    pending: Pending,
    /// Whether somebody is telling the store.
    pub(super) reporting: bool,
    /// Whether somebody is asking the store for a probe.
    pub(super) asking: bool,
    ask_again: u64,
    held_until: u64,
    pub(super) used: u64,
}

impl View {
    pub(super) const fn new() -> Self {
        Self {
            circuit: Circuit::new(0),
            revision: 0,
            detached: false,
            pending: Pending { generation: 0, healed: false, failures: 0 },
            reporting: false,
            asking: false,
            ask_again: 0,
            held_until: 0,
            used: 0,
        }
    }

    /// Whether a call may be made.
    pub(super) fn admit(&mut self, now: u64) -> Admission {
        self.used = now;
        if now < self.held_until {
            return Admission::HeldBack(Duration::from_millis(self.held_until - now));
        }
        match self.phase(now) {
            Phase::Closed => Admission::Pass(self.circuit.generation),
            Phase::Open if now < self.circuit.until => Admission::Open(Duration::from_millis(self.circuit.until - now)),
            Phase::Open | Phase::HalfOpen if self.asking || now < self.ask_again => {
                Admission::Open(Duration::from_millis(self.ask_again.saturating_sub(now).max(ASK_AGAIN_MS)))
            }
            Phase::Open | Phase::HalfOpen => {
                self.asking = true;
                Admission::Ask(self.circuit.generation)
            }
        }
    }

    /// Where the circuit stands; one that nothing was heard of for long is forgotten.
    pub(super) const fn phase(&self, now: u64) -> Phase {
        if now < self.circuit.ends { self.circuit.phase } else { Phase::Closed }
    }

    /// Whether calls are refused.
    pub(super) fn is_open(&self, now: u64) -> bool {
        self.phase(now) != Phase::Closed
    }

    /// Whether the circuit is half-open in `generation`.
    pub(super) fn is_half_open(&self, generation: u64, now: u64) -> bool {
        self.phase(now) == Phase::HalfOpen && self.circuit.generation == generation
    }

    /// Whether nothing is lost if it is forgotten.
    pub(super) fn is_idle(&self, now: u64, unused_ms: u64) -> bool {
        let busy = self.reporting || self.asking || now < self.held_until || self.used + unused_ms > now;
        !busy && (now >= self.circuit.ends || (self.circuit.phase == Phase::Closed && self.circuit.failures == 0))
    }

    /// A call succeeded that was let pass in `generation`. Returns whether the store must be told.
    pub(super) fn succeeded(&mut self, generation: u64, policy: &Policy, now: u64) -> bool {
        if self.circuit.failures == 0 || !self.counts(generation, now) {
            return false;
        }
        self.apply(generation, Event::Calls { healed: true, failures: 0 }, policy, 0, now);
        self.pending = Pending { generation, healed: true, failures: 0 };
        true
    }

    /// A call failed that was let pass in `generation`. Returns whether the store must be told.
    pub(super) fn failed(&mut self, generation: u64, policy: &Policy, jitter: u32, now: u64) -> bool {
        if !self.counts(generation, now) {
            return false;
        }
        self.apply(generation, Event::Calls { healed: false, failures: 1 }, policy, jitter, now);
        if self.pending.generation != generation {
            self.pending = Pending { generation, ..Pending::default() };
        }
        self.pending.failures += 1;
        true
    }

    /// Whether the outcome of a call from `generation` says anything now.
    fn counts(&self, generation: u64, now: u64) -> bool {
        self.phase(now) == Phase::Closed && self.circuit.generation == generation
    }

    /// Lets something happen to the circuit as this process knows it. Returns whether a probe was let pass.
    pub(super) fn apply(&mut self, seen: u64, event: Event, policy: &Policy, jitter: u32, now: u64) -> bool {
        let (circuit, _, admitted) = Circuit::apply(Some(&self.circuit), seen, event, policy, jitter, now);
        self.circuit = circuit;
        self.revision += 1;
        admitted
    }

    /// Takes what the store is to be told.
    pub(super) fn take_pending(&mut self) -> Option<Pending> {
        let pending = std::mem::take(&mut self.pending);
        (pending.healed || pending.failures > 0).then_some(pending)
    }

    /// The store was away: it knows less than this process from now on.
    pub(super) const fn detach(&mut self) {
        self.detached = true;
    }

    /// Takes over what the store says, and then again what it does not know yet. After the store was away, the stricter of both.
    pub(super) fn adopt(&mut self, told: &Snapshot, policy: &Policy, now: u64) {
        let known = self.circuit.snapshot(now);
        let detached = std::mem::take(&mut self.detached);
        self.revision += 1;
        self.ask_again = 0;
        if detached && self.is_open(now) && strictness(&known) > strictness(told) {
            return;
        }
        self.circuit = Circuit::told(told, policy, now);
        if detached && (known.phase, told.phase) == (Phase::Closed, Phase::Closed) {
            self.circuit.failures = self.circuit.failures.max(known.failures);
        }
        if let Pending { generation, healed, failures } = self.pending
            && (healed || failures > 0)
            && generation == told.generation
        {
            self.apply(generation, Event::Calls { healed, failures }, policy, 0, now);
        }
    }

    /// As [`View::adopt`], for what was only looked at: the store may have forgotten what is known here.
    pub(super) fn adopt_newer(&mut self, told: &Snapshot, policy: &Policy, now: u64) {
        if told.generation >= self.circuit.generation || strictness(told) > strictness(&self.circuit.snapshot(now)) {
            self.adopt(told, policy, now);
        }
    }

    /// Takes over what the store says, whatever is known here: an operator wants it.
    pub(super) fn adopt_anyway(&mut self, told: &Snapshot, policy: &Policy, now: u64) {
        self.detached = false;
        self.held_until = 0;
        self.adopt(told, policy, now);
    }

    /// All probes are given away: asks again a little later.
    pub(super) fn refused_probe(&mut self, wait_ms: u64, now: u64) {
        self.ask_again = now + wait_ms.clamp(1, ASK_AGAIN_MS);
    }

    /// The service asks not to be called for `ms`.
    pub(super) fn hold_back(&mut self, ms: u64, now: u64) {
        self.held_until = self.held_until.max(now.saturating_add(ms));
    }
}

/// Orders states by how much they refuse.
fn strictness(circuit: &Snapshot) -> (u8, u64, u32) {
    let phase = match circuit.phase {
        Phase::Closed => 0,
        Phase::HalfOpen => 1,
        Phase::Open => 2,
    };
    (phase, if circuit.phase == Phase::Open { circuit.wait_ms } else { 0 }, circuit.failures)
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: Policy = Policy { failure_threshold: 3, success_threshold: 2, open_ms: 1000 };

    fn told(phase: Phase, generation: u64, failures: u32) -> Snapshot {
        let wait_ms = if phase == Phase::Open { 500 } else { 0 };
        Snapshot { phase, generation, failures, successes: 0, opens: u32::from(phase == Phase::Open), wait_ms }
    }

    fn failing(times: u32) -> View {
        let mut view = View::new();
        for _ in 0..times {
            assert!(view.failed(0, &POLICY, 0, 0));
        }
        view
    }

    #[test]
    fn it_opens_here_before_the_store_knows_and_believes_the_store() {
        let mut view = failing(3);
        assert_eq!(view.admit(1), Admission::Open(Duration::from_millis(999)));
        assert_eq!(view.take_pending(), Some(Pending { generation: 0, healed: false, failures: 3 }));
        // Others' successes came between: the store knows better.
        view.adopt(&told(Phase::Closed, 0, 1), &POLICY, 2);
        assert_eq!(view.admit(2), Admission::Pass(0));
    }

    #[test]
    fn what_the_store_does_not_know_yet_is_not_forgotten_when_it_answers() {
        let mut view = failing(1);
        view.take_pending().expect("a failure");
        view.failed(0, &POLICY, 0, 0);
        view.adopt(&told(Phase::Closed, 0, 1), &POLICY, 1);
        assert_eq!(view.circuit.failures, 2);
        view.failed(0, &POLICY, 0, 1);
        assert!(view.is_open(1));
    }

    #[test]
    fn a_success_is_told_only_where_failures_are_known() {
        let mut view = View::new();
        assert!(!view.succeeded(0, &POLICY, 0));
        view.adopt(&told(Phase::Closed, 0, 2), &POLICY, 0);
        assert!(view.succeeded(0, &POLICY, 0));
        assert!(!view.succeeded(0, &POLICY, 0));
        assert_eq!(view.take_pending().map(Pending::event), Some(Event::Calls { healed: true, failures: 0 }));
        assert_eq!(view.take_pending(), None);
    }

    #[test]
    fn after_the_store_was_away_the_stricter_state_holds() {
        for (ours, theirs, open) in
            [(Phase::Open, Phase::Closed, true), (Phase::Closed, Phase::Open, true), (Phase::Closed, Phase::Closed, false)]
        {
            let mut view = View::new();
            view.adopt(&told(ours, 5, 0), &POLICY, 0);
            view.detach();
            view.adopt(&told(theirs, 3, 0), &POLICY, 1);
            assert_eq!(view.is_open(1), open, "{ours:?} here, {theirs:?} there");
        }
        // Failures that only this process knows of count on, as of the generation that the store knows.
        let mut view = failing(2);
        view.take_pending().expect("failures");
        view.detach();
        view.adopt(&told(Phase::Closed, 7, 1), &POLICY, 1);
        assert_eq!(view.admit(1), Admission::Pass(7));
        assert!(view.failed(7, &POLICY, 0, 1) && view.is_open(1));
        // But what the store says while it is there holds.
        let mut view = View::new();
        view.adopt(&told(Phase::Open, 5, 0), &POLICY, 0);
        view.adopt(&told(Phase::Closed, 6, 0), &POLICY, 1);
        assert!(!view.is_open(1));
    }

    #[test]
    fn a_store_that_forgot_is_not_believed_when_it_is_only_looked_at() {
        let mut view = View::new();
        view.adopt(&told(Phase::Open, 5, 0), &POLICY, 0);
        view.adopt_newer(&told(Phase::Closed, 0, 0), &POLICY, 1);
        assert!(view.is_open(1));
        view.adopt_newer(&told(Phase::Closed, 6, 0), &POLICY, 1);
        assert!(!view.is_open(1));
    }

    #[test]
    fn one_asks_for_a_probe_at_a_time_and_not_at_once_again() {
        let mut view = View::new();
        view.adopt(&told(Phase::Open, 1, 0), &POLICY, 0);
        assert!(matches!(view.admit(499), Admission::Open(_)));
        assert_eq!(view.admit(500), Admission::Ask(1));
        assert!(matches!(view.admit(500), Admission::Open(_)), "somebody asks already");
        view.asking = false;
        view.refused_probe(60_000, 510);
        assert!(matches!(view.admit(609), Admission::Open(_)));
        assert_eq!(view.admit(610), Admission::Ask(1));
    }

    #[test]
    fn what_is_of_no_use_any_more_may_be_forgotten() {
        let mut view = failing(1);
        view.used = 0;
        assert!(!view.is_idle(60_001, 60_000), "a failure is known");
        view.succeeded(0, &POLICY, 0);
        assert!(!view.is_idle(59_999, 60_000) && view.is_idle(60_000, 60_000));
        let mut view = failing(3);
        assert!(!view.is_idle(60_001, 60_000), "it is open");
        let ends = view.circuit.ends;
        assert_eq!(view.admit(ends), Admission::Pass(1), "it is so long ago");
        assert!(view.is_idle(ends + 60_000, 60_000));
    }
}
