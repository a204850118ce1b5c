//! Sessions: who is signed in, and the token that proves it.
//!
//! The client holds a sealed token; the store holds a sealed record under the session's id, with a life that each use renews.
//! A forged token is refused without asking the store; a stolen dump of the store reveals nobody and admits nobody.

mod memory;
mod record;
mod redis;
mod store;
mod token;

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};

use crate::config;
use crate::domain::{KeyRing, Principal, SessionId, StoreUnavailable, TenantScope, User};

pub use self::memory::MemorySessionStore;
pub use self::redis::RedisSessionStore;
pub use self::store::{Owner, SessionStore, StoredSession};
pub use self::token::{Claims, Token};

use self::record::Record;

/// How far another replica's clock may be ahead.
const CLOCK_SKEW: TimeDelta = TimeDelta::minutes(1);

/// A living session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Session {
    /// Its id.
    pub id: SessionId,
    /// When it began.
    pub created_at: DateTime<Utc>,
    /// When it ends unless it is used before; never later than its absolute end.
    pub expires_at: DateTime<Utc>,
}

/// Why a token does not let its bearer in.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SessionError {
    /// Forged, foreign, expired or ended; which of these is not told.
    #[error("the session is not valid")]
    Invalid,
    /// The store cannot tell.
    #[error(transparent)]
    Unavailable(#[from] StoreUnavailable),
}

/// Opens, verifies and ends sessions.
#[derive(Clone)]
pub struct Sessions {
    store: Arc<dyn SessionStore>,
    keys: KeyRing,
    idle: Duration,
    absolute: TimeDelta,
}

impl Sessions {
    /// Sessions kept in `store`, sealed with `keys`, living as long as `settings` say.
    #[must_use]
    pub fn new(store: Arc<dyn SessionStore>, keys: KeyRing, settings: &config::Session) -> Self {
        // The settings bound durations to ten years, which a TimeDelta holds.
        let absolute = TimeDelta::from_std(settings.absolute_ttl).unwrap_or(TimeDelta::MAX);
        Self { store, keys, idle: settings.ttl, absolute }
    }

    /// Signs `user` in.
    ///
    /// # Errors
    /// [`StoreUnavailable`]; nobody is signed in then.
    pub async fn open(&self, user: &User, now: DateTime<Utc>) -> Result<(Token, Session), StoreUnavailable> {
        // The token tells the time to the millisecond; so does everything that is derived from it.
        let now = now.trunc_subsecs(3);
        let claims = Claims { session: SessionId::random(), tenant: user.tenant_id, user: user.id, issued_at: now };
        let sealed = Record { role: user.role, created_at: now }.seal(&self.keys, Owner::of(&claims), claims.session);
        let (idle, ends_at) = (self.idle_life(&claims, now), claims.issued_at + self.absolute);
        self.store.create(Owner::of(&claims), claims.session, sealed, idle, now, ends_at).await?;
        Ok((claims.seal(&self.keys), session(&claims, now, idle)))
    }

    /// Who the bearer of `token` claims to be. Takes no more than a decryption; says nothing of whether the session lives.
    #[must_use]
    pub fn identify(&self, token: &str, now: DateTime<Utc>) -> Option<Claims> {
        let claims = Claims::open(&self.keys, token)?;
        (claims.issued_at <= now + CLOCK_SKEW && !self.is_past_end(&claims, now)).then_some(claims)
    }

    /// Whether the claimed session is past its absolute end.
    #[must_use]
    pub fn is_past_end(&self, claims: &Claims, now: DateTime<Utc>) -> bool {
        now >= claims.issued_at + self.absolute
    }

    /// Verifies that the claimed session lives, and lets it live on.
    ///
    /// # Errors
    /// [`SessionError`].
    #[expect(clippy::disallowed_methods, reason = "the session is verified: this is where a tenant's scope comes from")]
    pub async fn verify(&self, claims: &Claims, now: DateTime<Utc>) -> Result<(Principal, Session), SessionError> {
        let idle = self.idle_life(claims, now);
        let sealed = self.store.touch(claims.session, idle).await?.ok_or(SessionError::Invalid)?;
        let record = Record::open(&self.keys, Owner::of(claims), claims.session, &sealed).ok_or(SessionError::Invalid)?;
        let principal = Principal {
            scope: TenantScope::assume_verified(claims.tenant),
            user: claims.user,
            role: record.role,
            session: claims.session,
        };
        Ok((principal, session(claims, now, idle)))
    }

    /// Ends one session of `principal`'s user. Returns whether there was one.
    ///
    /// # Errors
    /// [`StoreUnavailable`]; the session may or may not have ended.
    pub async fn end(&self, principal: &Principal, session: SessionId) -> Result<bool, StoreUnavailable> {
        let owner = Owner { tenant: principal.tenant(), user: principal.user };
        // Only a session in the user's own index can be its own; ids are never enough to end somebody else's.
        if session != principal.session && !self.store.list(owner).await?.iter().any(|stored| stored.id == session) {
            return Ok(false);
        }
        Ok(self.store.end(owner, &[session]).await? > 0)
    }

    /// Ends every session of `principal`'s user but its own. Returns how many.
    ///
    /// # Errors
    /// [`StoreUnavailable`]; any of them may or may not have ended.
    pub async fn end_others(&self, principal: &Principal) -> Result<u64, StoreUnavailable> {
        let owner = Owner { tenant: principal.tenant(), user: principal.user };
        let others: Vec<SessionId> =
            self.store.list(owner).await?.into_iter().map(|stored| stored.id).filter(|&id| id != principal.session).collect();
        self.store.end(owner, &others).await
    }

    /// The living sessions of `principal`'s user, oldest first.
    ///
    /// # Errors
    /// [`StoreUnavailable`].
    pub async fn list(&self, principal: &Principal, now: DateTime<Utc>) -> Result<Vec<Session>, StoreUnavailable> {
        let owner = Owner { tenant: principal.tenant(), user: principal.user };
        let stored = self.store.list(owner).await?;
        let mut sessions: Vec<Session> = stored.iter().filter_map(|stored| self.stored_session(owner, stored, now)).collect();
        sessions.sort_by_key(|session| session.created_at);
        Ok(sessions)
    }

    /// A stored session whose record is truly its owner's.
    fn stored_session(&self, owner: Owner, stored: &StoredSession, now: DateTime<Utc>) -> Option<Session> {
        let record = Record::open(&self.keys, owner, stored.id, &stored.record)?;
        Some(Session { id: stored.id, created_at: record.created_at, expires_at: now + stored.idle_left })
    }

    /// Clears what has expired, where the store does not do so by itself.
    pub fn prune(&self) {
        self.store.prune();
    }

    /// How long the session lives from `now` if it is not used: never past its absolute end.
    fn idle_life(&self, claims: &Claims, now: DateTime<Utc>) -> Duration {
        let left = claims.issued_at + self.absolute - now;
        self.idle.min(left.to_std().unwrap_or_default())
    }
}

fn session(claims: &Claims, now: DateTime<Utc>, idle: Duration) -> Session {
    Session { id: claims.session, created_at: claims.issued_at, expires_at: now + idle }
}

#[cfg(test)]
mod tests;
