//! The users' indexes of sessions, seen as a whole: who has sessions, and clearing what has ended.

use std::time::Duration;

use super::operations::millis;
use super::script::SESSION_REPLACE;
use super::{Key, Redis};
use crate::domain::{SessionId, StoreUnavailable, TenantId, UserId};

/// Keys that Redis looks at in one step of a scan: some tenths of a millisecond.
const SCAN_COUNT: u32 = 500;

impl Redis {
    /// One step over all keys, from `cursor`: owners of the indexes that it came by, and the next cursor, 0 at the end.
    ///
    /// # Errors
    /// [`StoreUnavailable`].
    pub async fn scan_session_indexes(&self, cursor: u64) -> Result<(u64, Vec<(TenantId, UserId)>), StoreUnavailable> {
        let mut scan = redis::cmd("SCAN");
        scan.arg(cursor).arg("MATCH").arg(Key::EVERY_USER_SESSIONS).arg("COUNT").arg(SCAN_COUNT);
        let (next, keys): (u64, Vec<String>) = self.run(async |link| scan.query_async(link).await).await?;
        Ok((next, keys.iter().filter_map(|key| Key::owner_of_user_sessions(key)).collect()))
    }

    /// Clears the indexes of these users of sessions that are gone. Returns how many entries that was. Three round trips at most.
    ///
    /// # Errors
    /// [`StoreUnavailable`]; any of them may have been cleared.
    pub async fn prune_session_indexes(&self, owners: &[(TenantId, UserId)]) -> Result<u64, StoreUnavailable> {
        let indexes: Vec<Key> = owners.iter().map(|&(tenant, user)| Key::user_sessions(tenant, user)).collect();
        let mut ranges = redis::pipe();
        for index in &indexes {
            ranges.cmd("ZRANGE").arg(index).arg(0).arg(-1);
        }
        let named: Vec<Vec<String>> = self.run(async |link| ranges.query_async(link).await).await?;
        let entries = indexes.iter().zip(&named).flat_map(|(index, sids)| sids.iter().map(move |sid| (index, sid)));
        let entries: Vec<(&Key, &String, SessionId)> =
            entries.filter_map(|(index, sid)| Some((index, sid, sid.parse().ok()?))).collect();
        if entries.is_empty() {
            return Ok(0);
        }
        let mut exist = redis::pipe();
        for &(.., id) in &entries {
            exist.cmd("EXISTS").arg(Key::session(id));
        }
        let exist: Vec<bool> = self.run(async |link| exist.query_async(link).await).await?;
        let mut removals = redis::pipe();
        for ((index, sid, _), _) in entries.iter().zip(exist).filter(|(_, exists)| !exists) {
            removals.cmd("ZREM").arg(index).arg(sid);
        }
        if removals.is_empty() {
            return Ok(0);
        }
        let removed: Vec<u64> = self.run(async |link| removals.query_async(link).await).await?;
        Ok(removed.iter().sum())
    }

    /// Whether the caller is the one server that prunes the indexes, for the time of `turn`.
    ///
    /// # Errors
    /// [`StoreUnavailable`].
    pub async fn take_turn_to_prune_sessions(&self, turn: Duration) -> Result<bool, StoreUnavailable> {
        let mut set = redis::cmd("SET");
        set.arg(Key::session_pruning()).arg(1).arg("NX").arg("PX").arg(millis(turn));
        let set: Option<String> = self.run(async |link| set.query_async(link).await).await?;
        Ok(set.is_some())
    }

    /// Gives a living session another record; its life stays as it is.
    ///
    /// # Errors
    /// [`StoreUnavailable`]; it may or may not have it.
    pub async fn replace_session(&self, id: SessionId, record: &str) -> Result<(), StoreUnavailable> {
        let mut call = SESSION_REPLACE.prepare_invoke();
        call.key(Key::session(id)).arg(record);
        self.run(async |link| call.invoke_async::<u8>(link).await).await?;
        Ok(())
    }
}
