//! The connections that are open: how many, of whom, which of them are idle, and which are closed so that others find room.
//!
//! | when a client connects and | then |
//! |---|---|
//! | its address, or a wider IPv6 network of it, has as many connections as it may | its own oldest idle ones are closed; if none is idle, the new one is refused |
//! | the server is nearly full | the oldest idle ones of all are closed |
//! | and none is idle | the new one may only ask for the server's health, in one of the places that are kept for that |
//! | those are taken too | the new one is refused |
//!
//! A connection is idle while no request on it is being answered, whatever part of the next one has come.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ipnet::IpNet;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::domain::networks_of;

/// Connections that are open at most, where the limit of open files leaves room for as many.
const DEFAULT_TOTAL: usize = 10_000;

/// The part of all connections that one address may have, unless its number is set.
const ADDRESS_PART: usize = 10;

/// How many times as much the /64, the /56 and the /48 of an IPv6 address may have: more than one customer may be behind a wider one.
const NETWORK_FACTORS: [usize; 3] = [1, 2, 4];

/// How long a new connection is not taken for an idle one: its first request may have come already and not been looked at yet.
const GRACE: Duration = Duration::from_millis(250);

/// The same in a slot that is kept for health checks, whose clients send their request at once.
const KEPT_GRACE: Duration = Duration::from_millis(20);

/// How long nothing is looked for after no idle connection was found: to look at all of them takes a tenth of a millisecond.
const REST: Duration = Duration::from_millis(10);

/// How many connections may be open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionLimits {
    total: usize,
    per_address: usize,
}

impl ConnectionLimits {
    /// Makes the limits of these numbers, where they are set, of which the first is no more than there is `room` for.
    #[must_use]
    pub fn new(total: Option<usize>, per_address: Option<usize>, room: usize) -> Self {
        if let Some(total) = total.filter(|&total| total > room) {
            tracing::warn!(wanted = total, possible = room, "the limit of open files leaves room for fewer connections");
        }
        let total = total.unwrap_or(DEFAULT_TOTAL).min(room).max(1);
        Self { total, per_address: per_address.unwrap_or(total / ADDRESS_PART).clamp(1, total) }
    }

    /// Lets one address have half of all: for a server that is most often reached through one proxy.
    #[must_use]
    pub fn behind_one_proxy(room: usize) -> Self {
        let limits = Self::new(None, None, room);
        Self { per_address: (limits.total / 2).max(1), ..limits }
    }

    /// Number of slots that are kept for health checks.
    fn kept(self) -> usize {
        (self.total / 50).clamp(4, 200).min(self.total / 2)
    }
}

/// Every connection of the server. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Connections(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    limits: ConnectionLimits,
    proxies: Vec<IpNet>,
    start: Instant,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    open: HashMap<u64, Arc<Connection>>,
    networks: HashMap<IpNet, Network>,
    next_id: u64,
    /// No connection was idle at the last scan: there is none before this time.
    resting_until: Option<Instant>,
}

#[derive(Debug, Default)]
struct Network {
    open: usize,
    /// The same of this network.
    resting_until: Option<Instant>,
}

/// A connection, as what answers its requests sees it.
#[derive(Debug)]
pub(in crate::http) struct Connection {
    id: u64,
    peer: SocketAddr,
    start: Instant,
    is_proxy: bool,
    is_kept_for_health: bool,
    /// Whether it counts for its networks.
    is_counted: AtomicBool,
    /// Requests that are being answered: one at most, but for the moment between two.
    requests: AtomicU32,
    was_used: AtomicBool,
    /// Milliseconds since `start`.
    idle_since: AtomicU64,
    is_closing: AtomicBool,
    close: Notify,
}

/// The reason why a client may not connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum ConnectionRefusal {
    #[error("too many connections from this address")]
    Address,
    #[error("too many connections")]
    Full,
}

impl ConnectionRefusal {
    /// The reason's name, for metrics.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Address => "address",
            Self::Full => "full",
        }
    }
}

impl Connections {
    /// Bounds connections by `limits`; those of `proxies` in all only, since many clients are behind each.
    #[must_use]
    pub fn new(limits: ConnectionLimits, proxies: Vec<IpNet>) -> Self {
        tracing::debug!(total = limits.total, per_address = limits.per_address, "connections that may be open");
        Self(Arc::new(Shared { limits, proxies, start: Instant::now(), table: Mutex::default() }))
    }

    /// Takes a slot for a client that has connected.
    pub(super) fn admit(&self, peer: SocketAddr) -> Result<Slot, ConnectionRefusal> {
        let (limits, now) = (self.0.limits, Instant::now());
        let ip = peer.ip().to_canonical();
        let is_proxy = self.0.proxies.iter().any(|network| network.contains(&ip));
        let mut table = self.lock();
        if !is_proxy {
            for (network, factor) in networks_of(ip).zip(NETWORK_FACTORS) {
                let bound = limits.per_address.saturating_mul(factor).min(limits.total);
                if !table.has_room_in(network, bound, now) {
                    return Err(ConnectionRefusal::Address);
                }
            }
        }
        let for_all = limits.total - limits.kept();
        if table.open.len() >= for_all {
            table.close_idle_of_all((limits.total / 100).max(1), now);
        }
        if table.open.len() >= limits.total {
            return Err(ConnectionRefusal::Full);
        }
        let is_kept_for_health = table.open.len() >= for_all;
        let id = table.next_id;
        table.next_id += 1;
        let connection = Arc::new(Connection {
            id,
            peer,
            start: self.0.start,
            is_proxy,
            is_kept_for_health,
            is_counted: AtomicBool::new(!is_proxy),
            requests: AtomicU32::new(0),
            was_used: AtomicBool::new(false),
            idle_since: AtomicU64::new(millis(now - self.0.start)),
            is_closing: AtomicBool::new(false),
            close: Notify::new(),
        });
        table.insert(Arc::clone(&connection));
        Ok(Slot { connections: self.clone(), connection })
    }

    /// Closes some idle connections, where there are no more files to open.
    pub(super) fn close_some_idle(&self) {
        self.lock().close_idle_of_all((self.0.limits.total / 100).max(1), Instant::now());
    }

    /// Counts a connection for its address no more: it is another server's of this deployment, through which many clients come.
    pub(in crate::http) fn exempt(&self, connection: &Connection) {
        let mut table = self.lock();
        if table.open.contains_key(&connection.id) {
            table.uncount(connection);
        }
    }

    /// Returns the numbers of busy and of idle connections.
    pub(in crate::http) fn count(&self) -> (usize, usize) {
        let table = self.lock();
        let busy = table.open.values().filter(|connection| connection.is_busy()).count();
        (busy, table.open.len() - busy)
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        // Its methods do not panic half-way.
        self.0.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn insert(&mut self, connection: Arc<Connection>) {
        if connection.is_counted.load(Ordering::Relaxed) {
            for network in networks_of(connection.peer.ip()) {
                self.networks.entry(network).or_default().open += 1;
            }
        }
        self.open.insert(connection.id, connection);
    }

    fn remove(&mut self, connection: &Connection) {
        if self.open.remove(&connection.id).is_some() {
            self.uncount(connection);
        }
    }

    fn uncount(&mut self, connection: &Connection) {
        if !connection.is_counted.swap(false, Ordering::Relaxed) {
            return;
        }
        for address in networks_of(connection.peer.ip()) {
            if let Some(network) = self.networks.get_mut(&address) {
                network.open -= 1;
                if network.open == 0 {
                    self.networks.remove(&address);
                }
            }
        }
    }

    /// Whether a network has fewer connections than it may, once its oldest idle ones are closed.
    fn has_room_in(&mut self, address: IpNet, bound: usize, now: Instant) -> bool {
        let Some(network) = self.networks.get(&address).filter(|network| network.open >= bound) else { return true };
        if network.resting_until.is_some_and(|until| now < until) {
            return false;
        }
        let is_of_it = |connection: &Connection| {
            connection.is_counted.load(Ordering::Relaxed) && address.contains(&connection.peer.ip().to_canonical())
        };
        let closed = self.close_idle((bound / 16).max(1), "address", now, is_of_it);
        if closed == 0
            && let Some(network) = self.networks.get_mut(&address)
        {
            network.resting_until = Some(now + REST);
        }
        closed > 0
    }

    /// Closes up to `most` of the oldest idle connections.
    fn close_idle_of_all(&mut self, most: usize, now: Instant) {
        if self.resting_until.is_none_or(|until| until <= now) && self.close_idle(most, "full", now, |_| true) == 0 {
            self.resting_until = Some(now + REST);
        }
    }

    /// Closes several at once, so that a flood of new connections does not scan the table each time. Returns how many.
    fn close_idle(&mut self, most: usize, reason: &'static str, now: Instant, of: impl Fn(&Connection) -> bool) -> usize {
        let idle = self.open.values().filter(|connection| of(connection));
        let mut idle: Vec<_> = idle.filter_map(|connection| Some((connection.idle_since(now)?, connection))).collect();
        let most = most.min(idle.len());
        // Those of proxies last: each is of many clients.
        idle.sort_unstable_by_key(|(since, connection)| (connection.is_proxy, *since, connection.id));
        let closing: Vec<Arc<Connection>> = idle.into_iter().take(most).map(|(_, connection)| Arc::clone(connection)).collect();
        for connection in &closing {
            self.remove(connection);
            connection.is_closing.store(true, Ordering::Relaxed);
            connection.close.notify_one();
        }
        metrics::counter!("agentapi_connections_closed_total", "reason" => reason)
            .increment(u64::try_from(closing.len()).unwrap_or(u64::MAX));
        closing.len()
    }
}

impl Connection {
    /// The other end's address.
    pub(in crate::http) fn peer(&self) -> IpAddr {
        self.peer.ip()
    }

    /// Whether its slot is one of those that are kept for health checks.
    pub(super) const fn is_kept_for_health(&self) -> bool {
        self.is_kept_for_health
    }

    /// Whether a request came on it.
    pub(super) fn was_used(&self) -> bool {
        self.was_used.load(Ordering::Relaxed)
    }

    /// Begins to answer a request.
    pub(super) fn begin_request(self: &Arc<Self>) -> Busy {
        self.was_used.store(true, Ordering::Relaxed);
        self.requests.fetch_add(1, Ordering::AcqRel);
        Busy(Arc::clone(self))
    }

    /// Completes once it is to be closed.
    pub(super) async fn closed(&self) {
        self.close.notified().await;
    }

    fn is_busy(&self) -> bool {
        self.requests.load(Ordering::Acquire) > 0
    }

    /// Returns since when it is idle, in milliseconds; nothing if it is busy, or may be.
    fn idle_since(&self, now: Instant) -> Option<u64> {
        let since = self.idle_since.load(Ordering::Relaxed);
        let grace = match (self.was_used(), self.is_kept_for_health) {
            (true, _) => Duration::ZERO,
            (false, true) => KEPT_GRACE,
            (false, false) => GRACE,
        };
        let is_idle = !self.is_busy() && self.start + Duration::from_millis(since) + grace <= now;
        is_idle.then_some(since)
    }
}

/// A connection's slot in the table; dropping it frees the slot.
#[derive(Debug)]
pub(super) struct Slot {
    connections: Connections,
    connection: Arc<Connection>,
}

impl Slot {
    pub(super) const fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.connections.lock().remove(&self.connection);
    }
}

/// A request that is being answered. Dropped with the body of its answer, sent or not.
#[derive(Debug)]
pub(super) struct Busy(Arc<Connection>);

impl Drop for Busy {
    fn drop(&mut self) {
        let connection = &self.0;
        connection.idle_since.store(millis(connection.start.elapsed()), Ordering::Relaxed);
        connection.requests.fetch_sub(1, Ordering::AcqRel);
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
