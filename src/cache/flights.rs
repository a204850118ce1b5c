//! One fill at a time: whoever wants what is being read already waits for it.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::Value;
use crate::domain::CacheKey;

/// What is being read. Clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct Flights(Arc<Mutex<HashMap<CacheKey, watch::Receiver<Option<Landed>>>>>);

/// What a flight brought.
#[derive(Debug, Clone)]
pub(super) enum Landed {
    /// The value.
    Value(Value),
    /// There is nothing of this name.
    Nothing,
}

/// How a caller gets what it wants.
pub(super) enum Boarding {
    /// By reading it, for all who come meanwhile.
    Lead(Lead),
    /// By waiting for who reads it.
    Wait(Waiter),
}

/// The duty to read. Dropped, whoever waits is told that nothing comes.
pub(super) struct Lead {
    flights: Flights,
    key: CacheKey,
    landing: watch::Sender<Option<Landed>>,
}

/// A place on somebody else's flight.
pub(super) struct Waiter(watch::Receiver<Option<Landed>>);

impl Flights {
    /// Joins the flight of `key`, or begins it.
    pub(super) fn board(&self, key: &CacheKey) -> Boarding {
        match self.lock().entry(key.clone()) {
            Entry::Occupied(flight) => Boarding::Wait(Waiter(flight.get().clone())),
            Entry::Vacant(vacant) => {
                let (landing, landed) = watch::channel(None);
                vacant.insert(landed);
                Boarding::Lead(Lead { flights: self.clone(), key: key.clone(), landing })
            }
        }
    }

    /// Lets nobody join the flight of `key` any more, and nothing of what it brings be kept: it may be old.
    pub(super) fn ground(&self, key: &CacheKey) {
        self.lock().remove(key);
    }

    /// The same for every flight.
    pub(super) fn ground_all(&self) {
        self.lock().clear();
    }

    /// The map. Each change is one insert or removal.
    fn lock(&self) -> MutexGuard<'_, HashMap<CacheKey, watch::Receiver<Option<Landed>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lead {
    pub(super) const fn key(&self) -> &CacheKey {
        &self.key
    }

    /// Hands what was read to all who wait.
    pub(super) fn land(&self, landed: Landed) {
        self.landing.send_replace(Some(landed));
    }

    /// Does `keep`, unless the flight was grounded; whoever grounds it meanwhile waits until that is done.
    pub(super) fn unless_grounded<T>(&self, keep: impl FnOnce() -> T) -> Option<T> {
        let flights = self.flights.lock();
        self.is_current(&flights).then(keep)
    }

    fn is_current(&self, flights: &HashMap<CacheKey, watch::Receiver<Option<Landed>>>) -> bool {
        flights.get(&self.key).is_some_and(|flight| flight.same_channel(&self.landing.subscribe()))
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        let mut flights = self.flights.lock();
        if self.is_current(&flights) {
            flights.remove(&self.key);
        }
    }
}

impl Waiter {
    /// What the flight brought; nothing if it failed.
    pub(super) async fn landed(mut self) -> Option<Landed> {
        self.0.wait_for(Option::is_some).await.ok()?.clone()
    }
}
