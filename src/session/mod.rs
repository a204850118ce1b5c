//! Sessions: who is signed in, and the token that proves it.
//!
//! The client holds a sealed token; the store holds a sealed record under the session's id, with a life that each use renews.
//! A forged token is refused without asking the store; a stolen dump of the store reveals nobody and admits nobody.

mod dead;
mod ended;
mod ending;
mod memory;
mod over;
mod record;
mod redis;
mod rotate;
mod store;
mod token;

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use tokio::sync::broadcast;
use tokio::time::Instant;

use crate::config;
use crate::domain::{Credential, KeyRing, Principal, SessionId, StoreUnavailable, TenantId, TenantScope, User, UserId, Whose};

pub use self::memory::MemorySessionStore;
pub use self::redis::RedisSessionStore;
pub use self::rotate::{Resealed, reseal_records};
pub use self::store::{NewSession, Owner, SessionStore, StoredSession};
pub use self::token::{Claims, Token};

use self::dead::Dead;
use self::ended::EndedSessions;
use self::over::Over;
use self::record::Record;

/// How far another replica's clock may be ahead.
const CLOCK_SKEW: TimeDelta = TimeDelta::minutes(1);

/// News of ended sessions that are kept for a slow listener.
const ENDINGS_KEPT: usize = 64;

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

/// A session that was opened.
#[derive(Debug)]
pub struct OpenedSession {
    /// The token, for the client.
    pub token: Token,
    /// The session.
    pub session: Session,
    /// The user's oldest sessions, which ended because there were too many.
    pub ended: Vec<SessionId>,
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
    cap: usize,
    ended: broadcast::Sender<Whose>,
    dead: Arc<Dead>,
    over: Arc<Over>,
    ended_by_id: Arc<EndedSessions>,
}

impl Sessions {
    /// Sessions kept in `store`, sealed with `keys`, living as long as `settings` say.
    #[must_use]
    pub fn new(store: Arc<dyn SessionStore>, keys: KeyRing, settings: &config::Session) -> Self {
        // The settings bound durations to ten years, which a TimeDelta holds.
        let absolute = TimeDelta::from_std(settings.absolute_ttl).unwrap_or(TimeDelta::MAX);
        let (ended, _) = broadcast::channel(ENDINGS_KEPT);
        Self {
            store,
            keys,
            idle: settings.ttl,
            absolute,
            cap: settings.max_per_user,
            ended,
            dead: Arc::default(),
            over: Arc::default(),
            ended_by_id: Arc::default(),
        }
    }

    /// Signs `user` in. Where it has as many sessions as it may, the oldest ends.
    ///
    /// # Errors
    /// [`StoreUnavailable`]; nobody is signed in then.
    pub async fn open(&self, user: &User, now: DateTime<Utc>) -> Result<OpenedSession, StoreUnavailable> {
        // The token tells the time to the millisecond; so does everything that is derived from it.
        let now = now.trunc_subsecs(3);
        let claims = Claims { session: SessionId::random(), tenant: user.tenant_id, user: user.id, issued_at: now, stale: false };
        let owner = Owner::of(&claims);
        let (idle, ends_at) = (self.idle_life(&claims, now), claims.issued_at + self.absolute);
        let record = Record {
            role: user.role,
            created_at: now,
            ends_at: Some(ends_at),
            fresh_until: Some(Record::fresh_until(now, self.idle, ends_at)),
            epoch: user.session_epoch,
            tenant_epoch: user.tenant_epoch,
            stale: false,
        };
        let record = record.seal(&self.keys, owner, claims.session);
        let new = NewSession { owner, id: claims.session, record, idle, now, ends_at };
        let ended = self.store.create(new, self.cap).await?;
        if !ended.is_empty() {
            tracing::info!(user.id = %user.id, sessions = ended.len(), "the oldest sessions ended: the user has too many");
            self.mark_ended(owner, &ended, Duration::ZERO);
            self.tell_ended(owner.sessions());
        }
        Ok(OpenedSession { token: claims.seal(&self.keys), session: session(&claims, now + idle), ended })
    }

    /// Who the bearer of `token` claims to be. Takes no more than a decryption; says nothing of whether the session lives.
    #[must_use]
    pub fn identify(&self, token: &str, now: DateTime<Utc>) -> Option<Claims> {
        Claims::open(&self.keys, token).filter(|claims| self.is_current(claims, now))
    }

    /// The claims that another server read in a token, if the session may be alive. Says nothing of whether it is.
    #[must_use]
    pub fn claimed(
        &self,
        session: SessionId,
        (tenant, user): (TenantId, UserId),
        issued_at: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Option<Claims> {
        // The server that was shown the token exchanges it, if its key seals no more.
        let claims = Claims { session, tenant, user, issued_at, stale: false };
        self.is_current(&claims, now).then_some(claims)
    }

    fn is_current(&self, claims: &Claims, now: DateTime<Utc>) -> bool {
        claims.issued_at <= now + CLOCK_SKEW && !self.is_past_end(claims, now)
    }

    /// Whether the claimed session is past its absolute end.
    #[must_use]
    pub fn is_past_end(&self, claims: &Claims, now: DateTime<Utc>) -> bool {
        now >= claims.issued_at + self.absolute
    }

    /// Whether the claimed session has been found to be over: [`Sessions::verify`] would find it so again. Asks no store.
    #[must_use]
    pub fn is_known_dead(&self, claims: &Claims) -> bool {
        self.dead.knows(claims.session) || self.ended_by_id.contains(claims.tenant, claims.session)
    }

    /// Verifies that the claimed session lives, and lets it live on.
    ///
    /// # Errors
    /// [`SessionError`].
    pub async fn verify(&self, claims: &Claims, now: DateTime<Utc>) -> Result<(Principal, Session), SessionError> {
        let verified = self.look_up(claims, now).await;
        if matches!(verified, Err(SessionError::Invalid)) {
            self.dead.remember(claims.session);
        }
        verified
    }

    #[expect(clippy::disallowed_methods, reason = "the session is verified: this is where a tenant's scope comes from")]
    async fn look_up(&self, claims: &Claims, now: DateTime<Utc>) -> Result<(Principal, Session), SessionError> {
        let (owner, id, idle) = (Owner::of(claims), claims.session, self.idle_life(claims, now));
        if self.ended_by_id.contains(owner.tenant, id) {
            return Err(SessionError::Invalid);
        }
        let sealed = self.store.touch(id, idle).await?.ok_or(SessionError::Invalid)?;
        let record = Record::open(&self.keys, owner, id, &sealed).ok_or(SessionError::Invalid)?;
        if self.is_over(owner, id, &record, now) {
            self.clear(owner, id).await;
            return Err(SessionError::Invalid);
        }
        if record.stale || record.is_aging(self.idle, now) {
            self.renew(owner, id, &record, now).await;
        }
        let scope = TenantScope::assume_verified(claims.tenant);
        let principal = Principal { scope, user: claims.user, role: record.role, credential: Credential::Session(id) };
        Ok((principal, session(claims, not_after(now + idle, &record))))
    }

    /// Whether a session that the store still has lets nobody in: it was ended with others, or is past the end it was given.
    fn is_over(&self, owner: Owner, id: SessionId, record: &Record, now: DateTime<Utc>) -> bool {
        let was_ended = self.ended_by_id.contains(owner.tenant, id) || self.over.includes(owner, id, record);
        was_ended || record.is_past(now)
    }

    /// The token to use from now on, where the one shown was sealed by a key that seals no more: the same session, and as old.
    #[must_use]
    pub fn refreshed(&self, claims: &Claims) -> Option<Token> {
        claims.stale.then(|| claims.seal(&self.keys))
    }

    /// The keys that seal tokens and records.
    #[must_use]
    pub const fn keys(&self) -> &KeyRing {
        &self.keys
    }

    /// Seals a living session's record again, with the time of now: one more call to the store, once in a quarter of the time that an
    /// unused session lives, or after a change of keys. That it fails costs nothing: the next use tries again.
    async fn renew(&self, owner: Owner, session: SessionId, record: &Record, now: DateTime<Utc>) {
        let ends_at = record.ends_at.unwrap_or(record.created_at + self.absolute);
        let renewed = Record { fresh_until: Some(Record::fresh_until(now, self.idle, ends_at)), ..*record };
        if let Err(error) = self.store.replace(session, renewed.seal(&self.keys, owner, session)).await {
            tracing::debug!(%error, "a session's record was not sealed again");
        }
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

    /// A stored session that lets its owner in, and whose record is truly its owner's.
    fn stored_session(&self, owner: Owner, stored: &StoredSession, now: DateTime<Utc>) -> Option<Session> {
        let record = Record::open(&self.keys, owner, stored.id, &stored.record)?;
        let expires_at = not_after(now + stored.idle_left, &record);
        let session = Session { id: stored.id, created_at: record.created_at, expires_at };
        (!self.is_over(owner, stored.id, &record, now)).then_some(session)
    }

    /// Clears what has expired, where the store does not do so by itself; to be called once an `interval`.
    ///
    /// # Errors
    /// [`StoreUnavailable`].
    pub async fn prune(&self, interval: Duration) -> Result<u64, StoreUnavailable> {
        self.over.prune(Instant::now());
        self.ended_by_id.prune(Instant::now());
        self.store.prune(interval).await
    }

    /// How long the session lives from `now` if it is not used: never past its absolute end.
    fn idle_life(&self, claims: &Claims, now: DateTime<Utc>) -> Duration {
        let left = claims.issued_at + self.absolute - now;
        self.idle.min(left.to_std().unwrap_or_default())
    }
}

fn session(claims: &Claims, expires_at: DateTime<Utc>) -> Session {
    Session { id: claims.session, created_at: claims.issued_at, expires_at }
}

/// `time`, or when the session ends at the latest if that is earlier.
fn not_after(time: DateTime<Utc>, record: &Record) -> DateTime<Utc> {
    record.ends_at.map_or(time, |ends_at| ends_at.min(time))
}

#[cfg(test)]
mod tests;
