//! Leave to call a service, and what comes of the call.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::breakers::{Entry, Inner};
use super::{Event, Lease};

/// How long a call that was a successful probe is held up for the store.
const PROBE_PATIENCE: Duration = Duration::from_millis(100);

/// What came of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The service answered.
    Success,
    /// It did not, or with an error of its own.
    Failure,
    /// It asked not to be called for so long. Says nothing for or against it.
    Throttled(Duration),
    /// Nothing that says something of the service.
    Neutral,
}

impl Outcome {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Success => "ok",
            Self::Failure => "fail",
            Self::Throttled(_) => "throttled",
            Self::Neutral => "neutral",
        }
    }
}

/// Leave to call a service once. Dropped without an outcome (the caller went away), it says nothing of the service, and gives a
/// probe's place back.
#[must_use = "dropped, it says that the call was given up"]
pub struct Permit {
    pub(super) inner: Arc<Inner>,
    pub(super) entry: Arc<Entry>,
    pub(super) generation: u64,
    /// The probe that the call is, if it is one.
    pub(super) probe: Option<Lease>,
    pub(super) settled: bool,
}

impl Permit {
    /// Tells what came of the call. After a probe that succeeded it waits a moment for the store, so that whoever calls next finds
    /// the circuit as it is; what is told is told whether or not it is waited for. Returns such a probe, whose answer may be a stream.
    pub async fn settle(mut self, outcome: Outcome) -> Option<SuccessfulProbe> {
        self.settled = true;
        self.entry.count(outcome.as_str());
        if let Outcome::Throttled(wait) = outcome {
            self.inner.hold_back(&self.entry, wait);
        }
        match (self.probe, outcome) {
            (Some(lease), Outcome::Success) => {
                // The outcome is the same if it takes longer.
                let _ = timeout(PROBE_PATIENCE, self.probed(Event::ProbeSucceeded(lease))).await;
                let (inner, entry) = (self.inner.clone(), self.entry.clone());
                return Some(SuccessfulProbe { inner, entry, generation: self.generation, lease });
            }
            (Some(lease), Outcome::Failure) => drop(self.probed(Event::ProbeFailed(lease))),
            (Some(lease), Outcome::Throttled(_) | Outcome::Neutral) => drop(self.probed(Event::ProbeDropped(lease))),
            (None, Outcome::Success) => self.inner.succeeded(&self.entry, self.generation),
            (None, Outcome::Failure) => self.inner.failed(&self.entry, self.generation),
            (None, Outcome::Throttled(_) | Outcome::Neutral) => {}
        }
        None
    }

    /// Tells what came of a probe: goes on by itself.
    fn probed(&self, event: Event) -> impl Future<Output = ()> + use<> {
        self.inner.probed(&self.entry, self.generation, event)
    }
}

/// A probe that succeeded, and whose answer may be a stream. While the stream lasts, there may be no other calls that close the circuit,
/// so each piece of it counts as a success.
pub struct SuccessfulProbe {
    inner: Arc<Inner>,
    entry: Arc<Entry>,
    generation: u64,
    lease: Lease,
}

impl SuccessfulProbe {
    /// Counts another success if the circuit is still half-open. Returns whether it was.
    #[must_use]
    pub fn count_success(&self) -> bool {
        let is_half_open = self.entry.lock().is_half_open(self.generation, self.inner.now());
        if is_half_open {
            drop(self.inner.probed(&self.entry, self.generation, Event::ProbeSucceeded(self.lease)));
        }
        is_half_open
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if self.settled {
            return;
        }
        self.entry.count(Outcome::Neutral.as_str());
        if let Some(lease) = self.probe {
            drop(self.probed(Event::ProbeDropped(lease)));
        }
    }
}
