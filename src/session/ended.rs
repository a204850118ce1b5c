//! Sessions that were ended one by one: at log-out, by their id, or because their user opened too many.
//!
//! Ending a session deletes its record from the store. Whoever can write to the store may put the record back, so each server keeps the
//! ids of ended sessions, as Postgres has them, until the sessions would be past their absolute end.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use tokio::time::Instant;

use crate::domain::{SessionId, TenantId};

/// Sessions kept at most: some 60 MB. An entry takes a log-in, whose rate is limited; beyond the bound, the store alone knows that a
/// session ended.
const CAPACITY: usize = 1_000_000;

/// The ids of ended sessions, each with the time from which on it need not be known.
#[derive(Debug, Default)]
pub(super) struct EndedSessions(RwLock<HashMap<(TenantId, SessionId), Instant>>);

impl EndedSessions {
    /// Adds a session. Returns false if there is no room.
    pub(super) fn insert(&self, tenant: TenantId, session: SessionId, until: Instant) -> bool {
        let mut ended = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let has_room = ended.len() < CAPACITY || ended.contains_key(&(tenant, session));
        if has_room {
            ended.insert((tenant, session), until);
        }
        has_room
    }

    /// Whether a session of this tenant was ended.
    pub(super) fn contains(&self, tenant: TenantId, session: SessionId) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).contains_key(&(tenant, session))
    }

    /// Forgets the sessions that are past their absolute end.
    pub(super) fn prune(&self, now: Instant) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).retain(|_, until| now < *until);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn ended_session_is_known_for_its_tenant_until_its_end() {
        let (ended, now, tenant) = (EndedSessions::default(), Instant::now(), TenantId::new());
        let [session, other] = std::array::from_fn(|_| SessionId::random());
        assert!(ended.insert(tenant, session, now + Duration::from_secs(10)));
        assert!(ended.contains(tenant, session));
        assert!(!ended.contains(tenant, other) && !ended.contains(TenantId::new(), session));
        ended.prune(now + Duration::from_secs(9));
        assert!(ended.contains(tenant, session));
        ended.prune(now + Duration::from_secs(10));
        assert!(!ended.contains(tenant, session));
    }
}
