//! Sealing the records of living sessions by the current key, without their being used.

use super::record::Record;
use super::{Owner, RedisSessionStore, SessionStore};
use crate::domain::{KeyRing, StoreUnavailable};

/// What became of some sealed things.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Resealed {
    /// Sealed again, by the current key.
    pub resealed: u64,
    /// Sealed by a key that is not there.
    pub unknown: u64,
}

/// Seals the records of an owner's sessions again, where another than the current key sealed them. May be cut off at any point, and
/// run beside servers: a record that is replaced says the same.
///
/// # Errors
/// [`StoreUnavailable`].
pub async fn reseal_records(store: &RedisSessionStore, keys: &KeyRing, owner: Owner) -> Result<Resealed, StoreUnavailable> {
    let mut done = Resealed::default();
    for stored in store.list(owner).await? {
        match Record::reseal(keys, owner, stored.id, &stored.record) {
            Ok(Some(record)) => {
                store.replace(stored.id, record).await?;
                done.resealed += 1;
            }
            Ok(None) => {}
            Err(_) => done.unknown += 1,
        }
    }
    Ok(done)
}
