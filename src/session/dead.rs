//! Sessions that are over, as the store has said of them: so that whoever still shows their tokens costs the store nothing, and their
//! users no part of their limits.
//!
//! A session's id is never given again, so what is remembered stays true, and needs no end in time. Those that nobody has shown for
//! longest are forgotten first, and are then found out by the store, as before.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use crate::domain::SessionId;

/// Sessions remembered at most: some 500 KB.
const CAPACITY: usize = 10_000;

/// Sessions that are over.
#[derive(Debug, Default)]
pub(super) struct Dead(Mutex<Generations>);

/// Two halves: once the younger is full, the older is forgotten, and the younger takes its place.
#[derive(Debug, Default)]
struct Generations {
    younger: HashSet<SessionId>,
    older: HashSet<SessionId>,
}

impl Dead {
    /// Remembers that a session is over.
    pub(super) fn remember(&self, session: SessionId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(session);
    }

    /// Whether a session is known to be over. Whoever is asked about is remembered for longer.
    pub(super) fn knows(&self, session: SessionId) -> bool {
        let mut generations = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if generations.younger.contains(&session) {
            return true;
        }
        let known = generations.older.remove(&session);
        if known {
            generations.insert(session);
        }
        known
    }
}

impl Generations {
    fn insert(&mut self, session: SessionId) {
        if self.younger.len() >= CAPACITY / 2 {
            self.older = std::mem::take(&mut self.younger);
        }
        self.younger.insert(session);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_is_known_and_nothing_else_is() {
        let (dead, over) = (Dead::default(), SessionId::random());
        assert!(!dead.knows(over));
        dead.remember(over);
        assert!(dead.knows(over) && !dead.knows(SessionId::random()));
    }

    #[test]
    fn memory_is_bounded_and_who_is_shown_again_and_again_stays_known() {
        let dead = Dead::default();
        let [forgotten, shown] = std::array::from_fn(|_| SessionId::random());
        dead.remember(forgotten);
        dead.remember(shown);
        for _ in 0..CAPACITY * 3 {
            dead.remember(SessionId::random());
            assert!(dead.knows(shown));
        }
        assert!(!dead.knows(forgotten));
        let kept = dead.0.lock().expect("not poisoned");
        assert!(kept.younger.len() + kept.older.len() <= CAPACITY);
    }
}
