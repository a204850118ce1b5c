//! That sessions were ended all at once, and which are over by that.

use std::time::Duration;

use super::{SessionId, Whose};

/// Which sessions of a user or a tenant are over: those opened under a lower epoch, but for one that was spared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cutoff {
    /// How often all of them were ended at once.
    pub epoch: i64,
    /// The one that ended the others, if it was one of them that did so the last time.
    pub spared: Option<SessionId>,
}

impl Cutoff {
    /// Whether a session that was opened under `epoch` is over.
    #[must_use]
    pub fn ends(&self, session: SessionId, epoch: i64) -> bool {
        epoch < self.epoch && self.spared != Some(session)
    }
}

/// Sessions that were ended at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionsEnded {
    /// Whose.
    pub whose: Whose,
    /// Which of them.
    pub cutoff: Cutoff,
    /// How long ago, by the clock of Postgres.
    pub age: Duration,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_opened_before_is_over_but_for_the_spared() {
        let [one, two] = std::array::from_fn(|_| SessionId::random());
        let cutoff = Cutoff { epoch: 3, spared: Some(one) };
        assert!(!cutoff.ends(one, 2) && cutoff.ends(two, 2) && !cutoff.ends(two, 3));
        assert!(Cutoff { spared: None, ..cutoff }.ends(one, 2));
    }
}
