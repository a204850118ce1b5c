//! A circuit as a function of state, event and time: what the script in `src/redis/lua` does in Redis. A property test holds both
//! to the same answers.

use std::time::Duration;

use crate::config;

/// Probes that may be under way at once over all servers, however many successes are asked for.
pub const MAX_PROBES: usize = 10;

/// Longest that a probe keeps its place without a word: whoever has it died then.
pub const MAX_LEASE: Duration = Duration::from_mins(1);

/// Times in a row that a circuit opens for longer and longer: 1, 2, 4, 8, and then 10 times as long as the first time.
const OPENS: u32 = 5;

/// Longest time for which the circuit of another server of this deployment is open the first time. Requests cause health checks of that
/// server (`src/replica/health.rs`), which close the circuit as soon as it answers.
const REPLICA_OPEN: Duration = Duration::from_secs(1);

/// When circuits open and close. Times in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Failures in a row that open a circuit.
    pub failure_threshold: u32,
    /// Successes of probes that close it.
    pub success_threshold: u32,
    /// How long it is open the first time.
    pub open_ms: u64,
}

impl Policy {
    /// As `settings` say.
    #[must_use]
    pub fn new(settings: &config::CircuitBreaker) -> Self {
        Self {
            failure_threshold: settings.failure_threshold,
            success_threshold: settings.success_threshold,
            open_ms: u64::try_from(settings.timeout.as_millis()).unwrap_or(u64::MAX),
        }
    }

    /// The policy for other servers of this deployment: that of `settings`, but open for a second at most at first, and closed by one
    /// success.
    #[must_use]
    pub fn for_replicas(settings: &config::CircuitBreaker) -> Self {
        let general = Self::new(settings);
        Self { success_threshold: 1, open_ms: general.open_ms.min(millis(REPLICA_OPEN)), ..general }
    }

    /// How long a state is kept after its last change: longer than a circuit is ever open, and a probe under way.
    #[must_use]
    pub fn life_ms(&self) -> u64 {
        self.open_ms.saturating_mul(20).saturating_add(millis(MAX_LEASE))
    }

    /// How long a circuit is open that opens the `opens`th time in a row, lengthened by `jitter` thousandths.
    fn open_time_ms(&self, opens: u32, jitter: u32) -> u64 {
        let factor = 2_u64.pow(opens.clamp(1, OPENS) - 1).min(10);
        self.open_ms.saturating_mul(factor).saturating_mul(1000 + u64::from(jitter)) / 1000
    }

    /// Probes that may be under way at once after so many successes.
    fn probes(&self, successes: u32) -> usize {
        usize::try_from(self.success_threshold.saturating_sub(successes)).unwrap_or(MAX_PROBES).min(MAX_PROBES)
    }
}

/// Where a circuit stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Calls pass.
    Closed,
    /// Calls are refused.
    Open,
    /// A few calls pass, to find out whether the service is well again.
    HalfOpen,
}

impl Phase {
    /// The phase's name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
        }
    }
}

/// Names a probe.
pub type Lease = u64;

/// A circuit. Times in milliseconds, from whatever beginning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Circuit {
    /// Where it stands.
    pub phase: Phase,
    /// Raised by every change of phase: what began under an older one says nothing any more.
    pub generation: u64,
    /// Failures in a row while it is closed.
    pub failures: u32,
    /// Successes of probes while it is half-open.
    pub successes: u32,
    /// Times in a row that it opened without closing.
    pub opens: u32,
    /// When an open one may be probed.
    pub until: u64,
    /// Probes under way, and until when each keeps its place.
    pub leases: Vec<(Lease, u64)>,
    /// When it is forgotten.
    pub ends: u64,
}

/// What happens to a circuit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// Nothing: it is looked at.
    Peek,
    /// Somebody who knows it not to be closed asks to probe, and will have an answer within so many milliseconds.
    Acquire(Lease, u64),
    /// Calls that were let pass while it was closed: perhaps a success, and so many failures after it.
    Calls {
        /// Whether one succeeded.
        healed: bool,
        /// Failures since then.
        failures: u32,
    },
    /// A probe succeeded.
    ProbeSucceeded(Lease),
    /// A probe failed.
    ProbeFailed(Lease),
    /// A probe was given up and says nothing.
    ProbeDropped(Lease),
    /// An operator closes it.
    Reset,
}

/// What is told of a circuit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Snapshot {
    /// Where it stands.
    pub phase: Phase,
    /// Its generation.
    pub generation: u64,
    /// Failures in a row.
    pub failures: u32,
    /// Successes of probes.
    pub successes: u32,
    /// Times in a row that it opened.
    pub opens: u32,
    /// Milliseconds until asking to probe may help.
    pub wait_ms: u64,
}

impl Snapshot {
    /// The phase that the next call meets: if the time of an open circuit is over, that call is a probe.
    #[must_use]
    pub const fn phase_of_next_call(&self) -> Phase {
        match self.phase {
            Phase::Open if self.wait_ms == 0 => Phase::HalfOpen,
            phase => phase,
        }
    }
}

impl Circuit {
    /// One that nothing has happened to.
    #[must_use]
    pub const fn new(generation: u64) -> Self {
        Self {
            phase: Phase::Closed,
            generation,
            failures: 0,
            successes: 0,
            opens: 0,
            until: 0,
            leases: Vec::new(),
            ends: u64::MAX,
        }
    }

    /// What `event`, from somebody who last saw generation `seen`, makes of a circuit. Returns it, whether it changed, and
    /// whether somebody who asked may call.
    ///
    /// Whoever has seen a later generation than is known here knows more: it was forgotten here. A circuit that opens is open
    /// `jitter` thousandths longer than by the policy.
    #[must_use]
    pub fn apply(before: Option<&Self>, seen: u64, event: Event, policy: &Policy, jitter: u32, now: u64) -> (Self, bool, bool) {
        let before = before.filter(|circuit| now < circuit.ends);
        let known = before.filter(|circuit| circuit.generation >= seen);
        let mut circuit = known.cloned().unwrap_or_else(|| Self::remembered(seen, event));
        let changed = match event {
            Event::Peek => false,
            Event::Acquire(lease, ms) => return circuit.acquire(lease, ms, known.is_none(), policy, now),
            Event::Calls { healed, failures } => circuit.count(seen, (healed, failures), policy, jitter, now),
            Event::ProbeSucceeded(lease) => circuit.probed(seen, lease, Some(true), policy, jitter, now),
            Event::ProbeFailed(lease) => circuit.probed(seen, lease, Some(false), policy, jitter, now),
            Event::ProbeDropped(lease) => circuit.probed(seen, lease, None, policy, jitter, now),
            Event::Reset => {
                circuit.close();
                true
            }
        };
        (circuit.kept(changed, policy, now), changed, false)
    }

    /// What is told of it.
    #[must_use]
    pub fn snapshot(&self, now: u64) -> Snapshot {
        let wait_ms = match self.phase {
            Phase::Closed => 0,
            Phase::Open => self.until.saturating_sub(now),
            Phase::HalfOpen => self.leases.iter().map(|(_, end)| end.saturating_sub(now)).min().unwrap_or(0),
        };
        let Self { phase, generation, failures, successes, opens, .. } = *self;
        Snapshot { phase, generation, failures, successes, opens, wait_ms }
    }

    /// A circuit that is known by what was told of it at `now`.
    #[must_use]
    pub fn told(snapshot: &Snapshot, policy: &Policy, now: u64) -> Self {
        let Snapshot { phase, generation, failures, successes, opens, wait_ms } = *snapshot;
        let until = if phase == Phase::Open { now.saturating_add(wait_ms) } else { 0 };
        let ends = now.saturating_add(policy.life_ms());
        Self { phase, generation, failures, successes, opens, until, leases: Vec::new(), ends }
    }

    /// A forgotten circuit, as somebody who last saw generation `seen` knows it.
    fn remembered(seen: u64, event: Event) -> Self {
        let phase = match event {
            Event::Acquire(..) | Event::ProbeSucceeded(_) | Event::ProbeFailed(_) | Event::ProbeDropped(_) => Phase::HalfOpen,
            Event::Peek | Event::Calls { .. } | Event::Reset => Phase::Closed,
        };
        Self { phase, ..Self::new(seen) }
    }

    fn acquire(mut self, lease: Lease, ms: u64, forgotten: bool, policy: &Policy, now: u64) -> (Self, bool, bool) {
        let mut changed = false;
        if forgotten || (self.phase == Phase::Open && now >= self.until) {
            self = Self { phase: Phase::HalfOpen, generation: self.generation + 1, successes: 0, leases: Vec::new(), ..self };
            changed = true;
        }
        let admitted = match self.phase {
            Phase::Closed => true,
            Phase::Open => false,
            Phase::HalfOpen => {
                let places = self.leases.len();
                self.leases.retain(|&(_, end)| end > now);
                changed |= self.leases.len() < places;
                let free = self.leases.len() < policy.probes(self.successes);
                if free {
                    self.leases.push((lease, now.saturating_add(ms)));
                }
                changed |= free;
                free
            }
        };
        (self.kept(changed, policy, now), changed, admitted)
    }

    fn count(&mut self, seen: u64, (healed, failures): (bool, u32), policy: &Policy, jitter: u32, now: u64) -> bool {
        if self.phase != Phase::Closed || self.generation != seen {
            return false;
        }
        let before = self.failures;
        self.failures = (if healed { 0 } else { before }).saturating_add(failures);
        if self.failures >= policy.failure_threshold {
            self.open(policy, jitter, now);
            return true;
        }
        self.failures != before
    }

    fn probed(&mut self, seen: u64, lease: Lease, well: Option<bool>, policy: &Policy, jitter: u32, now: u64) -> bool {
        if self.phase != Phase::HalfOpen || self.generation != seen {
            return false;
        }
        let places = self.leases.len();
        self.leases.retain(|&(other, _)| other != lease);
        match well {
            Some(true) => {
                self.successes += 1;
                if self.successes >= policy.success_threshold {
                    self.close();
                }
            }
            Some(false) => self.open(policy, jitter, now),
            None => return self.leases.len() < places,
        }
        true
    }

    fn open(&mut self, policy: &Policy, jitter: u32, now: u64) {
        let opens = (self.opens + 1).min(OPENS);
        let until = now.saturating_add(policy.open_time_ms(opens, jitter));
        *self = Self { phase: Phase::Open, opens, until, ..Self::new(self.generation + 1) };
    }

    fn close(&mut self) {
        *self = Self::new(self.generation + 1);
    }

    fn kept(mut self, changed: bool, policy: &Policy, now: u64) -> Self {
        if changed {
            self.ends = now.saturating_add(policy.life_ms());
        }
        self
    }
}

/// Whole milliseconds.
pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
