//! Which servers live, as this one knows.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until, timeout};

use super::address::Address;
use crate::domain::{KeyRing, PublicKey, ReplicaId, SigningKey};
use crate::postgres::{Database, DatabaseError, Replica};
use crate::redis::{Key, Redis};

/// Heartbeats that a lease lasts without being renewed.
const LEASE_BEATS: u32 = 3;

/// Heartbeats in a row that a lease must be seen to be missing: a Redis that was started empty has none, until the living renew theirs.
const MISSING_BEATS: u32 = 2;

/// A server that knows of no other gives a sign of life in one heartbeat of so many: each is billed on Upstash, and nobody is there to
/// hear it. As soon as it hears of another, it gives one that lasts as usual.
const ALONE_FACTOR: u32 = 8;

/// Longest that a look at who is written may take.
const LOOK: Duration = Duration::from_secs(5);

/// The servers that act as one. Cheap to clone.
#[derive(Clone)]
pub struct Replicas(Arc<Inner>);

struct Inner {
    parts: ReplicasParts,
    known: Mutex<Known>,
    /// Told each time that it is read anew who lives.
    read: watch::Sender<()>,
    /// Told when another server may have joined.
    called: Notify,
    /// When servers were last read for the sake of a grant.
    looked_up: tokio::sync::Mutex<Option<Instant>>,
}

/// What it takes to be one of several servers.
pub struct ReplicasParts {
    /// Names this server, over restarts.
    pub id: ReplicaId,
    /// Where the others reach it.
    pub url: String,
    /// Where the servers are written.
    pub database: Database,
    /// Where leases are held; without it there are no others.
    pub redis: Option<Redis>,
    /// Time between two heartbeats.
    pub heartbeat: Duration,
    /// Authenticate what is written of servers.
    pub keys: KeyRing,
    /// Signs what this server forwards.
    pub signing_key: SigningKey,
}

#[derive(Default)]
struct Known {
    /// The others, and for how many heartbeats the lease of each has been missing.
    others: HashMap<ReplicaId, Other>,
    /// Time from the last heartbeat to the next, by which the lease was made to last.
    interval: Duration,
}

struct Other {
    /// Nothing if what is written of it is not authentic: nothing is forwarded to it, and no grant of it is valid.
    address: Option<Address>,
    missing: u32,
}

/// What a heartbeat found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beat {
    /// All is well.
    Regular,
    /// The others had taken this server for dead: what it ran is no longer its own. It has joined them again.
    Revived,
}

/// Whether this server is among those that are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Look {
    Listed,
    /// Something else is written of it than it wrote.
    Changed,
    Missing,
}

impl Replicas {
    /// A server that has not joined yet.
    #[must_use]
    pub fn new(parts: ReplicasParts) -> Self {
        let (read, called) = (watch::Sender::new(()), Notify::new());
        Self(Arc::new(Inner { parts, known: Mutex::default(), read, called, looked_up: tokio::sync::Mutex::default() }))
    }

    /// This server.
    #[must_use]
    pub fn id(&self) -> ReplicaId {
        self.0.parts.id
    }

    /// Joins the others, with a first heartbeat. Returns how many agents were lost when this server last ended without a word.
    ///
    /// # Errors
    /// If Postgres fails.
    pub async fn join(&self) -> Result<u64, DatabaseError> {
        let ReplicasParts { id, database, .. } = &self.0.parts;
        let lost = database.replicas().bury(*id).await?;
        database.replicas().register(&self.own_row()).await?;
        self.beat().await?;
        Ok(lost)
    }

    /// Leaves the others; what still runs here is lost.
    ///
    /// # Errors
    /// If Postgres fails: then the others find out by themselves.
    pub async fn leave(&self) -> Result<(), DatabaseError> {
        let ReplicasParts { id, database, redis, .. } = &self.0.parts;
        database.replicas().bury(*id).await?;
        if let Some(redis) = redis
            && let Err(error) = redis.end_lease(Key::replica(*id)).await
        {
            tracing::debug!(%error, "the lease stays until it runs out");
        }
        Ok(())
    }

    /// Says that the server `id` has joined.
    pub fn joined(&self, id: ReplicaId) {
        if id != self.id() {
            self.missed_joining();
        }
    }

    /// Says that others may have joined unheard.
    pub fn missed_joining(&self) {
        self.0.called.notify_one();
    }

    /// Done when a heartbeat is due after one that began at `last`: in time, or at once where this server was alone then and hears that it
    /// no longer is. Who was not goes on in time, however many join: others' leases are to be missed twice with a heartbeat in between.
    pub async fn due(&self, last: Instant) {
        let interval = self.lock().interval;
        loop {
            tokio::select! {
                () = sleep_until(last + interval) => return,
                () = self.0.called.notified() => {
                    if interval == self.0.parts.heartbeat {
                        continue;
                    }
                    // Where Postgres fails, a heartbeat finds out why.
                    if !matches!(self.look().await, Ok(Some(_))) || !self.is_alone() {
                        return;
                    }
                }
            }
        }
    }

    /// One heartbeat: renews the lease, looks who lives, and buries who does not.
    ///
    /// # Errors
    /// If Postgres fails.
    pub async fn beat(&self) -> Result<Beat, DatabaseError> {
        let ReplicasParts { database, .. } = &self.0.parts;
        let (leases, looked) = if self.is_alone() {
            // First, so that the lease is no longer than whoever is found may rely on.
            let looked = self.look().await;
            (self.renew().await, looked)
        } else {
            // Postgres may hang: the lease is renewed all the same, and in time.
            tokio::join!(self.renew(), self.look())
        };
        let Some(look) = looked? else { return Ok(Beat::Regular) };
        if look != Look::Listed {
            database.replicas().register(&self.own_row()).await?;
        }
        for dead in self.judge(&leases) {
            let agents = database.replicas().bury(dead).await?;
            tracing::warn!(replica.id = %dead, agents, "a server died: its agents are lost");
            self.forget(dead);
        }
        Ok(match look {
            Look::Listed | Look::Changed => Beat::Regular,
            Look::Missing => Beat::Revived,
        })
    }

    /// Where a server is reached; nothing if it does not count as living, or if what is written of it is not authentic.
    ///
    /// # Errors
    /// If Postgres fails.
    pub async fn url(&self, id: ReplicaId) -> Result<Option<String>, DatabaseError> {
        if let Some(other) = self.lock().others.get(&id) {
            return Ok(other.address.as_ref().map(|address| address.url.clone()));
        }
        // It may have joined since the last heartbeat.
        self.look_for_servers().await?;
        let url = self.lock().others.get(&id).and_then(|other| other.address.as_ref().map(|address| address.url.clone()));
        if url.is_some() {
            self.missed_joining();
        }
        Ok(url)
    }

    /// The key by which a server signs; nothing if it is not known, or if what is written of it is not authentic.
    pub(super) fn public_key(&self, id: ReplicaId) -> Option<PublicKey> {
        self.lock().others.get(&id)?.address.as_ref().map(|address| address.key)
    }

    /// Reads which servers there are, and takes it in.
    pub(super) async fn look_for_servers(&self) -> Result<(), DatabaseError> {
        self.learn(self.0.parts.database.replicas().list().await?);
        Ok(())
    }

    pub(super) fn parts(&self) -> &ReplicasParts {
        &self.0.parts
    }

    pub(super) fn last_look_up(&self) -> &tokio::sync::Mutex<Option<Instant>> {
        &self.0.looked_up
    }

    /// What this server writes of itself.
    fn own_row(&self) -> Replica {
        let ReplicasParts { id, url, keys, signing_key, .. } = &self.0.parts;
        Address { url: url.clone(), key: signing_key.public() }.row(keys, *id)
    }

    /// Done once a server no longer counts as living, as far as this one knows.
    pub async fn gone(&self, id: ReplicaId) {
        let mut read = self.0.read.subscribe();
        while self.lock().others.contains_key(&id) {
            // The sender is ours.
            let _ = read.changed().await;
        }
    }

    fn is_alone(&self) -> bool {
        self.lock().others.is_empty()
    }

    /// Reads who is written, and takes it in; nothing if Postgres takes too long to tell.
    async fn look(&self) -> Result<Option<Look>, DatabaseError> {
        let ReplicasParts { id, database, heartbeat, .. } = &self.0.parts;
        let Ok(written) = timeout(LOOK.min(*heartbeat), database.replicas().list()).await else { return Ok(None) };
        let written = written?;
        let look = match written.iter().find(|replica| replica.id == *id) {
            Some(own) if *own == self.own_row() => Look::Listed,
            Some(_) => Look::Changed,
            None => Look::Missing,
        };
        self.learn(written);
        Ok(Some(look))
    }

    /// Renews the lease. Returns of the servers known so far whether the lease of each lasts; of none if Redis cannot tell.
    async fn renew(&self) -> HashMap<ReplicaId, bool> {
        let ReplicasParts { id, redis, heartbeat, .. } = &self.0.parts;
        let (others, interval) = {
            let mut known = self.lock();
            known.interval = if known.others.is_empty() { *heartbeat * ALONE_FACTOR } else { *heartbeat };
            (known.others.keys().copied().collect::<Vec<_>>(), known.interval)
        };
        let Some(redis) = redis else { return HashMap::new() };
        let lease = interval * LEASE_BEATS;
        let keys: Vec<Key> = others.iter().copied().map(Key::replica).collect();
        match redis.renew_lease(Key::replica(*id), lease, &keys).await {
            Ok(lasts) => others.into_iter().zip(lasts).collect(),
            Err(error) => {
                tracing::warn!(%error, "this server's lease cannot be renewed");
                HashMap::new()
            }
        }
    }

    fn forget(&self, dead: ReplicaId) {
        self.lock().others.remove(&dead);
        self.0.read.send_replace(());
    }

    /// Takes in who is written.
    fn learn(&self, written: Vec<Replica>) {
        let mut known = self.lock();
        let before = std::mem::take(&mut known.others);
        for row in written.into_iter().filter(|replica| replica.id != self.0.parts.id) {
            let (address, before) = (Address::of_row(&self.0.parts.keys, &row), before.get(&row.id));
            if address.is_none() && before.is_none_or(|before| before.address.is_some()) {
                tracing::warn!(
                    replica.id = %row.id,
                    "what Postgres has of this server was not written by a server with our TOKEN_ENCRYPTION_KEY: nothing is \
                     forwarded to it, nor taken from it (docs/REPLICAS.md)"
                );
            }
            known.others.insert(row.id, Other { address, missing: before.map_or(0, |before| before.missing) });
        }
        drop(known);
        self.0.read.send_replace(());
    }

    /// Takes in whose lease lasts. Returns who is dead.
    fn judge(&self, leases: &HashMap<ReplicaId, bool>) -> Vec<ReplicaId> {
        let mut known = self.lock();
        for (id, other) in &mut known.others {
            // Where Redis could not tell, nothing was learnt, and what it tells next may be the first that a new Redis knows.
            other.missing = if leases.get(id) == Some(&false) { other.missing + 1 } else { 0 };
        }
        known.others.iter().filter(|(_, other)| other.missing >= MISSING_BEATS).map(|(&id, _)| id).collect()
    }

    /// What is known. A panic while it was locked cannot have left it half-made.
    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Replicas {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replicas").field("id", &self.id()).finish_non_exhaustive()
    }
}
