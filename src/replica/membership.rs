//! Which servers live, as this one knows.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until, timeout};

use super::address::Address;
use super::known::{Known, LeaseChanges};
use crate::domain::{KeyRing, PublicKey, ReplicaId, Service, SigningKey};
use crate::outbound::Outbound;
use crate::postgres::{Database, DatabaseError, RegisteredReplica, Replica};
use crate::redis::{Key, Redis};

/// Heartbeats at most from the end of a lease until it is missing for the second time; the timeout includes them.
const NOTICING_BEATS: u32 = 2;

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
    /// The client for health checks of the others.
    pub outbound: Outbound,
    /// Time between two heartbeats.
    pub heartbeat: Duration,
    /// Time without a heartbeat after which a server that does not answer either is deregistered.
    pub timeout: Duration,
    /// Authenticates the rows of servers in Postgres.
    pub keys: KeyRing,
    /// Signs the requests that this server forwards.
    pub signing_key: SigningKey,
}

/// Result of a heartbeat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beat {
    /// Whether this server is registered.
    pub standing: Standing,
    /// Servers whose lease is missing, for [`Replicas::confirm`].
    pub suspects: Vec<RegisteredReplica>,
}

/// Whether a server is registered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It is.
    Registered,
    /// Another server has deregistered it: its agents are lost.
    Deregistered {
        /// Whether its lease is renewed. Without one it would be suspected again at once.
        has_lease: bool,
    },
    /// Postgres did not answer in time.
    Unknown,
}

/// Whether this server is among those that are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Look {
    Listed,
    /// Its row is not what it wrote.
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
        let lost = self.0.parts.database.replicas().bury(self.id()).await?;
        self.register().await?;
        self.beat().await?;
        Ok(lost)
    }

    /// Registers this server, and announces it to the others.
    ///
    /// # Errors
    /// If Postgres fails.
    pub async fn register(&self) -> Result<(), DatabaseError> {
        self.0.parts.database.replicas().register(&self.own_row()).await
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
    /// The list of servers is read at once in either case.
    pub async fn due(&self, last: Instant) {
        let interval = self.lock().interval;
        loop {
            tokio::select! {
                () = sleep_until(last + interval) => return,
                () = self.0.called.notified() => {
                    let looked = self.look().await;
                    if interval == self.0.parts.heartbeat {
                        continue;
                    }
                    // Where Postgres fails, a heartbeat finds out why.
                    if !matches!(looked, Ok(Some(_))) || !self.is_alone() {
                        return;
                    }
                }
            }
        }
    }

    /// One heartbeat: renews the lease, reads the list of servers, and looks for missing leases.
    ///
    /// # Errors
    /// If Postgres fails.
    pub async fn beat(&self) -> Result<Beat, DatabaseError> {
        let (leases, looked) = if self.is_alone() {
            // First, so that the lease is no longer than whoever is found may rely on.
            let looked = self.look().await;
            (self.renew().await, looked)
        } else {
            // Postgres may hang: the lease is renewed all the same, and in time.
            tokio::join!(self.renew(), self.look())
        };
        let standing = match looked? {
            Some(Look::Listed) => Standing::Registered,
            Some(Look::Changed) => {
                self.register().await?;
                Standing::Registered
            }
            Some(Look::Missing) => Standing::Deregistered { has_lease: leases.is_some() },
            None => Standing::Unknown,
        };
        // A server that is not registered suspects no other.
        let suspects = match standing {
            Standing::Registered => self.update_leases(&leases.unwrap_or_default()),
            Standing::Deregistered { .. } | Standing::Unknown => Vec::new(),
        };
        Ok(Beat { standing, suspects })
    }

    /// Where a server is reached; nothing if it does not count as living, or if its row is not authentic.
    ///
    /// # Errors
    /// If Postgres fails.
    pub async fn url(&self, id: ReplicaId) -> Result<Option<String>, DatabaseError> {
        if let Some(url) = self.lock().url(id) {
            return Ok(Some(url));
        }
        // It may have joined since the last heartbeat.
        self.look_for_servers().await?;
        let url = self.lock().url(id);
        if url.is_some() {
            self.missed_joining();
        }
        Ok(url)
    }

    /// Done once a server no longer counts as living, as far as this one knows.
    pub async fn gone(&self, id: ReplicaId) {
        let mut read = self.0.read.subscribe();
        while self.lock().contains(id) {
            // The sender is ours.
            let _ = read.changed().await;
        }
    }

    /// The key by which a server signs; nothing if it is not known, or if its row is not authentic.
    pub(super) fn public_key(&self, id: ReplicaId) -> Option<PublicKey> {
        self.lock().public_key(id)
    }

    /// Reads which servers are registered.
    pub(super) async fn look_for_servers(&self) -> Result<(), DatabaseError> {
        self.learn(self.0.parts.database.replicas().list().await?);
        Ok(())
    }

    pub(super) fn last_look_up(&self) -> &tokio::sync::Mutex<Option<Instant>> {
        &self.0.looked_up
    }

    /// The row of this server.
    fn own_row(&self) -> Replica {
        let ReplicasParts { id, url, keys, signing_key, .. } = &self.0.parts;
        Address { url: url.clone(), key: signing_key.public() }.row(keys, *id)
    }

    pub(super) fn parts(&self) -> &ReplicasParts {
        &self.0.parts
    }

    fn is_alone(&self) -> bool {
        self.lock().is_empty()
    }

    /// Reads who is written, and takes it in; nothing if Postgres takes too long to tell.
    async fn look(&self) -> Result<Option<Look>, DatabaseError> {
        let ReplicasParts { id, database, heartbeat, .. } = &self.0.parts;
        let Ok(written) = timeout(LOOK.min(*heartbeat), database.replicas().list()).await else { return Ok(None) };
        let written = written?;
        let look = match written.iter().find(|written| written.replica.id == *id) {
            Some(own) if own.replica == self.own_row() => Look::Listed,
            Some(_) => Look::Changed,
            None => Look::Missing,
        };
        self.learn(written);
        Ok(Some(look))
    }

    /// Renews the lease. Returns for each known server whether its lease exists, or nothing if Redis did not answer.
    async fn renew(&self) -> Option<HashMap<ReplicaId, bool>> {
        let ReplicasParts { id, redis, heartbeat, timeout, .. } = &self.0.parts;
        let lease = timeout.saturating_sub(*heartbeat * NOTICING_BEATS);
        let (others, lease) = {
            let mut known = self.lock();
            let is_alone = known.is_empty();
            known.interval = if is_alone { *heartbeat * ALONE_FACTOR } else { *heartbeat };
            // The longer lease outlasts a renewal that fails, too.
            (known.ids(), if is_alone { lease + known.interval * 2 } else { lease })
        };
        let Some(redis) = redis else { return Some(HashMap::new()) };
        let keys: Vec<Key> = others.iter().copied().map(Key::replica).collect();
        match redis.renew_lease(Key::replica(*id), lease, &keys).await {
            Ok(lasts) => Some(others.into_iter().zip(lasts).collect()),
            Err(error) => {
                tracing::warn!(%error, "this server's lease cannot be renewed");
                None
            }
        }
    }

    pub(super) fn forget(&self, id: ReplicaId) {
        self.lock().forget(id);
        self.0.read.send_replace(());
    }

    /// Replaces the known servers, and closes the circuits of those that have registered since.
    fn learn(&self, written: Vec<RegisteredReplica>) {
        let others = written.into_iter().filter(|written| written.replica.id != self.id());
        let with_addresses = others.map(|other| (Address::of_row(&self.0.parts.keys, &other.replica), other));
        let new = self.lock().update(with_addresses);
        self.close_circuits(new);
        self.0.read.send_replace(());
    }

    /// Takes in which leases exist. Returns the servers whose health is to be checked.
    fn update_leases(&self, leases: &HashMap<ReplicaId, bool>) -> Vec<RegisteredReplica> {
        let LeaseChanges { suspects, renewed } = self.lock().update_leases(leases);
        self.close_circuits(renewed);
        suspects
    }

    fn close_circuits(&self, ids: Vec<ReplicaId>) {
        for id in ids {
            self.0.parts.outbound.close_circuit(Service::Replica(id));
        }
    }

    /// What is known. A panic while it was locked cannot have left it half-made.
    pub(super) fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Replicas {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replicas").field("id", &self.id()).finish_non_exhaustive()
    }
}
