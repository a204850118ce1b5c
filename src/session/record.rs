//! What the store keeps of a session, sealed, and bound to the session and its owner: moved elsewhere it does not open.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::Owner;
use crate::domain::{KeyRing, Purpose, Sealed, SessionId, UserRole};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) role: UserRole,
    pub(super) created_at: DateTime<Utc>,
}

impl Record {
    pub(super) fn seal(&self, keys: &KeyRing, owner: Owner, session: SessionId) -> Vec<u8> {
        let plain = serde_json::to_vec(self).expect("a struct of plain values always serialises");
        keys.seal(Purpose::SessionRecord, &context(owner, session), &plain).to_bytes()
    }

    pub(super) fn open(keys: &KeyRing, owner: Owner, session: SessionId, bytes: &[u8]) -> Option<Self> {
        let sealed = Sealed::from_bytes(bytes).ok()?;
        let plain = keys.open(Purpose::SessionRecord, &context(owner, session), &sealed).ok()?;
        serde_json::from_slice(&plain).ok()
    }
}

fn context(owner: Owner, session: SessionId) -> Vec<u8> {
    let (tenant, user) = (owner.tenant.as_uuid(), owner.user.as_uuid());
    [session.as_bytes().as_slice(), tenant.as_bytes(), user.as_bytes()].concat()
}
