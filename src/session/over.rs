//! Sessions that were ended all at once of late, as Postgres says: they let nobody in, whatever the store still has of them.
//!
//! The store's index of who has which sessions may be lost while the sessions live on, and whoever ends sessions may not reach the
//! store at all. So what is over is known here, and is looked at when a session is shown; that asks nobody.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use tokio::time::Instant;

use super::Owner;
use super::record::Record;
use crate::domain::{Cutoff, SessionId, SessionsEnded, Whose};

/// One entry a user or tenant whose sessions were ended within the longest life of a session, some 100 bytes each.
#[derive(Debug, Default)]
pub(super) struct Over(RwLock<HashMap<Whose, Mark>>);

#[derive(Debug)]
struct Mark {
    cutoff: Cutoff,
    /// When all that is over by it has reached its absolute end.
    until: Instant,
}

impl Over {
    /// Takes to be over what `ended` says, until no session can be left that began before, `longest_life` after.
    pub(super) fn mark(&self, ended: &SessionsEnded, longest_life: Duration, now: Instant) {
        let mark = Mark { cutoff: ended.cutoff, until: now + longest_life.saturating_sub(ended.age) };
        let mut marks = self.0.write().unwrap_or_else(PoisonError::into_inner);
        // Who ends sessions here and who hears of others' ending may be overtaken by each other: the later count says more.
        if marks.get(&ended.whose).is_none_or(|known| known.cutoff.epoch <= mark.cutoff.epoch) {
            marks.insert(ended.whose, mark);
        }
    }

    /// Whether a session is over.
    pub(super) fn includes(&self, owner: Owner, session: SessionId, record: &Record) -> bool {
        let marks = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let ended = |whose, epoch| marks.get(&whose).is_some_and(|mark| mark.cutoff.ends(session, epoch));
        !marks.is_empty() && (ended(owner.sessions(), record.epoch) || ended(Whose::Tenant(owner.tenant), record.tenant_epoch))
    }

    /// Forgets what concerns no session any more.
    pub(super) fn prune(&self, now: Instant) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).retain(|_, mark| now < mark.until);
    }
}

#[cfg(test)]
mod tests {
    use chrono::Utc;

    use super::*;
    use crate::domain::{TenantId, UserId, UserRole};

    const LIFE: Duration = Duration::from_secs(100);

    fn record(epoch: i64, tenant_epoch: i64) -> Record {
        Record {
            role: UserRole::Member,
            created_at: Utc::now(),
            ends_at: None,
            fresh_until: None,
            epoch,
            tenant_epoch,
            stale: false,
        }
    }

    fn ended(whose: Whose, epoch: i64, spared: Option<SessionId>) -> SessionsEnded {
        SessionsEnded { whose, cutoff: Cutoff { epoch, spared }, age: Duration::ZERO }
    }

    #[test]
    fn a_user_and_a_tenant_count_apart_and_nobody_else_is_meant() {
        let (over, now, id) = (Over::default(), Instant::now(), SessionId::random());
        let owner = Owner { tenant: TenantId::new(), user: UserId::new() };
        let colleague = Owner { user: UserId::new(), ..owner };
        let stranger = Owner { tenant: TenantId::new(), ..owner };
        assert!(!over.includes(owner, id, &record(0, 0)));
        over.mark(&ended(owner.sessions(), 2, None), LIFE, now);
        assert!(over.includes(owner, id, &record(1, 9)) && !over.includes(owner, id, &record(2, 0)));
        assert!(!over.includes(colleague, id, &record(1, 0)) && !over.includes(stranger, id, &record(1, 0)));
        over.mark(&ended(Whose::Tenant(owner.tenant), 1, None), LIFE, now);
        assert!(over.includes(owner, id, &record(2, 0)) && over.includes(colleague, id, &record(2, 0)));
        assert!(!over.includes(owner, id, &record(2, 1)) && !over.includes(stranger, id, &record(0, 0)));
    }

    #[test]
    fn who_is_spared_is_so_until_the_next_time() {
        let (over, now, id) = (Over::default(), Instant::now(), SessionId::random());
        let owner = Owner { tenant: TenantId::new(), user: UserId::new() };
        over.mark(&ended(owner.sessions(), 1, Some(id)), LIFE, now);
        assert!(!over.includes(owner, id, &record(0, 0)) && over.includes(owner, SessionId::random(), &record(0, 0)));
        over.mark(&ended(owner.sessions(), 2, None), LIFE, now);
        assert!(over.includes(owner, id, &record(0, 0)));
        over.mark(&ended(owner.sessions(), 1, Some(id)), LIFE, now);
        assert!(over.includes(owner, id, &record(0, 0)), "what was overtaken changes nothing");
    }

    #[test]
    fn it_is_kept_for_as_long_as_a_session_from_before_may_live() {
        let (over, now, id) = (Over::default(), Instant::now(), SessionId::random());
        let owner = Owner { tenant: TenantId::new(), user: UserId::new() };
        over.mark(&SessionsEnded { age: Duration::from_secs(40), ..ended(owner.sessions(), 1, None) }, LIFE, now);
        over.prune(now + Duration::from_secs(59));
        assert!(over.includes(owner, id, &record(0, 0)));
        over.prune(now + Duration::from_secs(60));
        assert!(!over.includes(owner, id, &record(0, 0)));
    }
}
