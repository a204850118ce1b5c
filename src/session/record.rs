//! What the store keeps of a session, sealed, and bound to the session and its owner: moved elsewhere it does not open.
//!
//! It is text (base64url): a store that is reached over JSON carries no bytes.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{CLOCK_SKEW, Owner};
use crate::domain::{KeyRing, Purpose, Sealed, SessionId, Unsealable, UserRole};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) role: UserRole,
    pub(super) created_at: DateTime<Utc>,
    /// When it ends at the latest, as it was when it began: its index lives no longer. Nothing in records of older versions.
    #[serde(default)]
    pub(super) ends_at: Option<DateTime<Utc>>,
    /// Until when the record lets its session's user in, wherever it is found: somewhat longer than an unused session lives. Nothing in
    /// records of older versions, which are sealed again when they are used.
    #[serde(default)]
    pub(super) fresh_until: Option<DateTime<Utc>>,
    /// The user's epoch when the session began; see [`crate::domain::User::session_epoch`].
    #[serde(default)]
    pub(super) epoch: i64,
    /// Its tenant's then; see [`crate::domain::User::tenant_epoch`].
    #[serde(default)]
    pub(super) tenant_epoch: i64,
    /// Whether it is to be sealed anew: the key it was sealed with seals no more.
    #[serde(skip)]
    pub(super) stale: bool,
}

impl Record {
    /// Until when a record is fresh that is sealed at `now`. A record is sealed again when a quarter of `idle` has passed, so it is fresh for
    /// a quarter longer than an unused session lives.
    pub(super) fn fresh_until(now: DateTime<Utc>, idle: Duration, ends_at: DateTime<Utc>) -> DateTime<Utc> {
        (now + idle + idle / 4).min(ends_at)
    }

    /// Whether the session is past its absolute end, or the record was sealed so long ago that the session ended by lying unused since.
    pub(super) fn is_past(&self, now: DateTime<Utc>) -> bool {
        let is_stale = |until: DateTime<Utc>| until + CLOCK_SKEW <= now;
        self.ends_at.is_some_and(|ends_at| ends_at <= now) || self.fresh_until.is_some_and(is_stale)
    }

    /// Whether the record is to be sealed again: it would not be fresh for as long as the session may lie unused from `now`.
    pub(super) fn is_aging(&self, idle: Duration, now: DateTime<Utc>) -> bool {
        let needed = self.ends_at.map_or(now + idle, |ends_at| ends_at.min(now + idle));
        self.fresh_until.is_none_or(|until| until < needed)
    }

    pub(super) fn seal(&self, keys: &KeyRing, owner: Owner, session: SessionId) -> String {
        let plain = serde_json::to_vec(self).expect("a struct of plain values always serialises");
        URL_SAFE_NO_PAD.encode(keys.seal(Purpose::SessionRecord, &context(owner, session), &plain).to_bytes())
    }

    pub(super) fn open(keys: &KeyRing, owner: Owner, session: SessionId, text: &str) -> Option<Self> {
        let sealed = Sealed::from_bytes(&URL_SAFE_NO_PAD.decode(text).ok()?).ok()?;
        let plain = keys.open(Purpose::SessionRecord, &context(owner, session), &sealed).ok()?;
        let record = serde_json::from_slice(&plain).ok()?;
        Some(Self { stale: sealed.key_id != keys.current(), ..record })
    }

    /// The record sealed by the current key, if `text` is sealed by another. No record where no key opens it.
    pub(super) fn reseal(keys: &KeyRing, owner: Owner, session: SessionId, text: &str) -> Result<Option<String>, Unsealable> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| Unsealable)?;
        let resealed = keys.reseal(Purpose::SessionRecord, &context(owner, session), &Sealed::from_bytes(&bytes)?)?;
        Ok(resealed.map(|sealed| URL_SAFE_NO_PAD.encode(sealed.to_bytes())))
    }
}

fn context(owner: Owner, session: SessionId) -> Vec<u8> {
    let (tenant, user) = (owner.tenant.as_uuid(), owner.user.as_uuid());
    [session.as_bytes().as_slice(), tenant.as_bytes(), user.as_bytes()].concat()
}
