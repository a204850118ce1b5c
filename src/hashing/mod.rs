//! The queue for hashing passwords at log-in. A hash takes tens of milliseconds of a core and 19 MiB, and anybody may ask for one: so
//! few are made at once, one core stays free for other requests, few wait, and networks take turns.

mod fair_queue;

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use ipnet::IpNet;
use tokio::sync::oneshot;

use self::fair_queue::{Entered, FairQueue};
use crate::domain::site_of;

/// Log-ins that may wait for each hash that is made at once: about a second and a half at 45 ms each. A client that would wait longer
/// is refused at once.
const MAX_WAITING: usize = 32;

/// Queue of log-ins whose password is to be hashed. Cheap to clone.
#[derive(Debug, Clone)]
pub struct HashingQueue(Arc<Mutex<Queue>>);

type Queue = FairQueue<IpNet, oneshot::Sender<Turn>>;

/// Refusal: too many wait already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many log-ins are waiting")]
pub struct QueueFull;

impl HashingQueue {
    /// Makes a queue for a machine with this many cores: all but one of them hash, and one in any case.
    #[must_use]
    pub fn new(cores: usize) -> Self {
        let at_once = cores.saturating_sub(1).max(1);
        Self(Arc::new(Mutex::new(FairQueue::new(at_once, at_once * MAX_WAITING))))
    }

    /// Takes a place in the queue for a client at `address`. Networks of the size of a site (/24, or /48 of IPv6) take turns.
    ///
    /// # Errors
    /// [`QueueFull`].
    pub fn enter(&self, address: IpAddr) -> Result<Place, QueueFull> {
        let (network, (sender, receiver)) = (site_of(address), oneshot::channel());
        let entered = self.lock(|queue| queue.enter(network, sender));
        match entered {
            Entered::Runs => Ok(Place::Turn(Turn(self.clone()))),
            // Dropping a displaced sender makes its receiver fail.
            Entered::Waits { id, displaced: _ } => Ok(Place::Waiting(Waiting { queue: self.clone(), network, id }, receiver)),
            Entered::Full => Err(QueueFull),
        }
    }

    /// Returns the number of log-ins that wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.lock(|queue| queue.waiting())
    }

    fn lock<R>(&self, f: impl FnOnce(&mut Queue) -> R) -> R {
        // Its methods do not panic half-way.
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A place in the queue; dropped, it is given up.
#[derive(Debug)]
pub enum Place {
    /// It is its turn.
    Turn(Turn),
    /// It waits.
    Waiting(Waiting, oneshot::Receiver<Turn>),
}

impl Place {
    /// Waits for the turn.
    ///
    /// # Errors
    /// [`QueueFull`] if the place was needed for somebody whose network had fewer of them.
    pub async fn turn(self) -> Result<Turn, QueueFull> {
        match self {
            Self::Turn(turn) => Ok(turn),
            Self::Waiting(_waiting, turn) => turn.await.map_err(|_| QueueFull),
        }
    }
}

/// Leaves the queue when dropped.
#[derive(Debug)]
pub struct Waiting {
    queue: HashingQueue,
    network: IpNet,
    id: u64,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.queue.lock(|queue| queue.leave(self.network, self.id));
    }
}

/// The right to hash one password; dropped, it goes to the next.
#[derive(Debug)]
pub struct Turn(HashingQueue);

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(next) = self.0.lock(FairQueue::finish) {
            // If the receiver was dropped meanwhile, the turn is returned, and dropping it serves the next waiter.
            let _gone = next.send(Self(self.0.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use futures_util::FutureExt;

    use super::*;

    fn address(network: u8) -> IpAddr {
        IpAddr::V4(Ipv4Addr::new(192, 0, network, 1))
    }

    fn turn(place: Place) -> Turn {
        place.turn().now_or_never().expect("it is its turn").expect("its place is kept")
    }

    #[test]
    fn one_core_stays_free() {
        for (cores, at_once) in [(1, 1), (2, 1), (8, 7)] {
            let queue = HashingQueue::new(cores);
            let places: Vec<Place> = (0..8).map(|_| queue.enter(address(1)).expect("room")).collect();
            assert_eq!(places.iter().filter(|place| matches!(place, Place::Turn(_))).count(), at_once, "{cores} cores");
        }
    }

    #[test]
    fn flood_of_one_network_delays_another_by_one_turn() {
        let queue = HashingQueue::new(2);
        let first = turn(queue.enter(address(1)).expect("room"));
        let flood: Vec<Place> = std::iter::from_fn(|| queue.enter(address(1)).ok()).collect();
        assert_eq!((flood.len(), queue.waiting()), (MAX_WAITING, MAX_WAITING));
        let other = queue.enter(address(2)).expect("a place of the flood");
        assert_eq!(queue.waiting(), MAX_WAITING);
        let mut flood = flood.into_iter();
        drop(first);
        drop(turn(flood.next().expect("one")));
        drop(turn(other));
        drop(turn(flood.next().expect("one")));
        let last = flood.next_back().expect("one");
        assert_eq!(last.turn().now_or_never().expect("it is told").err(), Some(QueueFull));
    }

    #[test]
    fn place_that_is_given_up_passes_its_turn_on() {
        let queue = HashingQueue::new(1);
        let first = turn(queue.enter(address(1)).expect("room"));
        let [second, third, fourth] = [(); 3].map(|()| queue.enter(address(1)).expect("room"));
        drop(third);
        assert_eq!(queue.waiting(), 2);
        drop(first);
        // It has its turn, and does not take it.
        drop(second);
        drop(turn(fourth));
        assert_eq!(queue.waiting(), 0);
        assert!(matches!(queue.enter(address(1)), Ok(Place::Turn(_))));
    }
}
