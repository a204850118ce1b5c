//! What this server knows of the other registered servers: a state that leases and answers change.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use super::address::Address;
use crate::domain::{PublicKey, ReplicaId};
use crate::postgres::RegisteredReplica;

/// Heartbeats in a row at which a lease must be missing: a Redis that was started empty has none until servers renew theirs.
const MISSING_BEATS: u32 = 2;

/// Least time between two health checks of the same server that requests cause.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// The other registered servers, by id.
#[derive(Default)]
pub(super) struct Known {
    others: HashMap<ReplicaId, Other>,
    /// Time from the last heartbeat to the next; the lease was renewed accordingly.
    pub(super) interval: Duration,
}

struct Other {
    registered: RegisteredReplica,
    /// Nothing if its row is not authentic: no request is forwarded to it, and no grant of it is valid.
    address: Option<Address>,
    /// Heartbeats in a row at which its lease was missing.
    missing: u32,
    /// Whether it answered a health check while its lease was missing.
    answers: bool,
    /// Whether it is a suspect whose health check is under way.
    is_checked: bool,
    /// Time of the last health check that a request caused.
    checked_at: Option<Instant>,
}

impl Other {
    const fn new(registered: RegisteredReplica, address: Option<Address>) -> Self {
        Self { registered, address, missing: 0, answers: false, is_checked: false, checked_at: None }
    }
}

/// Changes that a look at the leases shows.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct LeaseChanges {
    /// Servers whose lease is missing for long enough that their health is to be checked.
    pub(super) suspects: Vec<RegisteredReplica>,
    /// Servers whose lease was missing and is there again.
    pub(super) renewed: Vec<ReplicaId>,
}

impl Known {
    /// Replaces the registered servers, each with its address if its row is authentic. Returns those that have registered since the last
    /// time.
    pub(super) fn update(&mut self, registered: impl Iterator<Item = (Option<Address>, RegisteredReplica)>) -> Vec<ReplicaId> {
        let mut before = std::mem::take(&mut self.others);
        let mut new = Vec::new();
        for (address, registered) in registered {
            let id = registered.replica.id;
            let known = before.remove(&id).filter(|other| other.registered == registered);
            if known.is_none() {
                new.push(id);
                if address.is_none() {
                    tracing::warn!(
                        replica.id = %id,
                        "the row of this server in Postgres was not written by a server with our TOKEN_ENCRYPTION_KEY: nothing is \
                         forwarded to it, nor accepted from it (docs/REPLICAS.md)"
                    );
                }
            }
            self.others.insert(id, known.unwrap_or_else(|| Other::new(registered, address)));
        }
        new
    }

    /// Takes in which leases exist; those that are not in `leases` are not known.
    pub(super) fn update_leases(&mut self, leases: &HashMap<ReplicaId, bool>) -> LeaseChanges {
        let mut changes = LeaseChanges::default();
        for (&id, other) in &mut self.others {
            if leases.get(&id) == Some(&true) && other.missing > 0 {
                changes.renewed.push(id);
            }
            // Without an answer of Redis the count begins anew: the next answer may be that of an empty Redis.
            other.missing = if leases.get(&id) == Some(&false) { other.missing + 1 } else { 0 };
            other.answers &= other.missing > 0;
            if other.missing >= MISSING_BEATS && !other.is_checked {
                other.is_checked = true;
                changes.suspects.push(other.registered.clone());
            }
        }
        changes
    }

    /// Begins a health check that a request causes. Returns the server, or nothing if there was one within the last second.
    pub(super) fn begin_check(&mut self, id: ReplicaId, now: Instant) -> Option<RegisteredReplica> {
        let other = self.others.get_mut(&id)?;
        if other.checked_at.is_some_and(|at| now < at + CHECK_INTERVAL) {
            return None;
        }
        other.checked_at = Some(now);
        Some(other.registered.clone())
    }

    /// Takes in the result of a suspect's health check. Returns whether it has failed: it did not answer, and its lease is still missing.
    pub(super) fn has_failed(&mut self, suspect: &RegisteredReplica, answers: bool) -> bool {
        let id = suspect.replica.id;
        let Some(other) = self.others.get_mut(&id).filter(|other| other.registered == *suspect) else { return false };
        other.is_checked = false;
        if answers && other.missing >= MISSING_BEATS && !std::mem::replace(&mut other.answers, true) {
            tracing::warn!(replica.id = %id, "a server has no lease in Redis, but answers: it stays registered");
        }
        !answers && other.missing >= MISSING_BEATS
    }

    /// The ids of the registered servers.
    pub(super) fn ids(&self) -> Vec<ReplicaId> {
        self.others.keys().copied().collect()
    }

    /// The URL of a registered server whose row is authentic.
    pub(super) fn url(&self, id: ReplicaId) -> Option<String> {
        self.others.get(&id)?.address.as_ref().map(|address| address.url.clone())
    }

    /// The key by which a registered server signs, if its row is authentic.
    pub(super) fn public_key(&self, id: ReplicaId) -> Option<PublicKey> {
        self.others.get(&id)?.address.as_ref().map(|address| address.key)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.others.is_empty()
    }

    pub(super) fn contains(&self, id: ReplicaId) -> bool {
        self.others.contains_key(&id)
    }

    pub(super) fn forget(&mut self, id: ReplicaId) {
        self.others.remove(&id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postgres::Replica;

    fn replica() -> RegisteredReplica {
        let replica = Replica { id: ReplicaId::new(), url: "http://h:1".to_owned(), public_key: Vec::new(), mac: Vec::new() };
        RegisteredReplica { replica, registered_at: chrono::Utc::now() }
    }

    fn known(replica: &RegisteredReplica) -> Known {
        let mut known = Known::default();
        assert_eq!(known.update([(None, replica.clone())].into_iter()), [replica.replica.id]);
        known
    }

    #[test]
    fn lease_missing_twice_in_a_row_makes_a_suspect() {
        let replica = replica();
        let (mut known, id) = (known(&replica), replica.replica.id);
        let missing = HashMap::from([(id, false)]);
        let lasts = HashMap::from([(id, true)]);
        assert_eq!(known.update_leases(&missing), LeaseChanges::default());
        // Redis does not answer: the count begins anew.
        assert_eq!(known.update_leases(&HashMap::new()), LeaseChanges::default());
        assert_eq!(known.update_leases(&missing), LeaseChanges::default());
        assert_eq!(known.update_leases(&lasts), LeaseChanges { suspects: Vec::new(), renewed: vec![id] });
        assert_eq!(known.update_leases(&missing), LeaseChanges::default());
        let suspect = || LeaseChanges { suspects: vec![replica.clone()], renewed: Vec::new() };
        assert_eq!(known.update_leases(&missing), suspect());
        assert_eq!(known.update_leases(&missing), LeaseChanges::default(), "its health check is under way");
        assert!(!known.has_failed(&replica, true));
        assert_eq!(known.update_leases(&missing), suspect());
        assert!(known.has_failed(&replica, false));
    }

    #[test]
    fn suspect_that_renews_its_lease_or_restarts_is_kept() {
        let replica = replica();
        let missing = HashMap::from([(replica.replica.id, false)]);
        let suspected = || {
            let mut known = known(&replica);
            known.update_leases(&missing);
            assert_eq!(known.update_leases(&missing).suspects.len(), 1);
            known
        };
        let mut renewed = suspected();
        renewed.update_leases(&HashMap::from([(replica.replica.id, true)]));
        assert!(!renewed.has_failed(&replica, false));
        let mut started_again = suspected();
        let anew =
            RegisteredReplica { registered_at: replica.registered_at + chrono::TimeDelta::microseconds(1), ..replica.clone() };
        assert_eq!(started_again.update([(None, anew)].into_iter()), [replica.replica.id]);
        assert!(!started_again.has_failed(&replica, false));
    }

    #[test]
    fn requests_check_a_server_once_a_second() {
        let replica = replica();
        let (mut known, now) = (known(&replica), Instant::now());
        assert_eq!(known.begin_check(ReplicaId::new(), now), None);
        assert_eq!(known.begin_check(replica.replica.id, now), Some(replica.clone()));
        assert_eq!(known.begin_check(replica.replica.id, now), None);
        assert_eq!(known.begin_check(replica.replica.id, now + CHECK_INTERVAL), Some(replica));
    }
}
