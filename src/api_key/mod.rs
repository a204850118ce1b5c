//! API keys: who a machine acts for, and the text that proves it.
//!
//! A key is random bytes of which a digest is kept. It acts as the user who made it: what that user may do, whether it is disabled and
//! whether its tenant is suspended are looked up at each use, from memory for some seconds. `docs/adr/0020-api-keys.md` tells why.

mod acquaintances;
mod look_up;
mod text;

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::sync::{Semaphore, broadcast};
use tokio_util::task::TaskTracker;

use crate::cache::{Cache, CacheError};
use crate::domain::{
    ApiKey, ApiKeyId, ApiKeyName, Credential, Principal, SecretDigest, TenantId, TenantScope, UserId, UserRole, Whose,
    random_bytes,
};
use crate::postgres::{Database, DatabaseError, NewApiKey, StoredApiKey};

pub use self::text::{ApiKeyText, ShownKey};

use self::acquaintances::Acquaintances;
use self::look_up::LookUp;

/// Keys that a user may have at once, neither revoked nor expired.
pub const MAX_PER_USER: u16 = 50;

/// How often at most the use of a key is written down.
const NOTE_INTERVAL: Duration = Duration::from_secs(300);

/// News of endings that are kept for a slow listener.
const ENDINGS_KEPT: usize = 64;

/// Why a key does not let its bearer in.
#[derive(Debug, thiserror::Error)]
pub enum ApiKeyError {
    /// Invented, wrong, foreign, expired or revoked, or its user is disabled or its tenant suspended; which of these is not told.
    #[error("the API key is not valid")]
    Invalid,
    /// It is not known here, and Postgres cannot tell.
    #[error(transparent)]
    Unavailable(#[from] DatabaseError),
}

/// What may have ended: keys that were good may be so no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// A key was revoked.
    Key(ApiKeyId),
    /// Something of a user or a tenant has changed.
    Of(Whose),
    /// For a while nothing was heard.
    Unheard,
}

/// Makes, checks and revokes keys. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ApiKeys(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    database: Database,
    look_up: LookUp,
    known: Acquaintances,
    /// One use is written down at a time, so that requests have Postgres for themselves.
    noting: Arc<Semaphore>,
    tasks: TaskTracker,
    ended: broadcast::Sender<Ending>,
}

impl ApiKeys {
    /// Keys kept in `database`, what they are checked against cached by `cache`. Uses are written down by tasks of `tasks`.
    #[must_use]
    pub fn new(database: Database, cache: Cache, tasks: TaskTracker) -> Self {
        let look_up = LookUp::new(database.clone(), cache);
        let (ended, _) = broadcast::channel(ENDINGS_KEPT);
        let (known, noting) = (Acquaintances::default(), Arc::new(Semaphore::new(1)));
        Self(Arc::new(Inner { database, look_up, known, noting, tasks, ended }))
    }

    /// Makes a key of `principal`'s user. Returns nothing if it has as many as it may.
    ///
    /// # Errors
    /// If Postgres fails.
    pub async fn make(
        &self,
        principal: &Principal,
        name: ApiKeyName,
        expires_at: Option<DateTime<Utc>>,
    ) -> Result<Option<(ApiKey, ApiKeyText)>, DatabaseError> {
        let (id, secret) = (ApiKeyId::new(), random_bytes());
        let new = NewApiKey { id, name, secret: SecretDigest::of(&secret), expires_at };
        let made = self.0.database.api_keys(principal.scope).insert(principal.user, &new, MAX_PER_USER).await?;
        Ok(made.map(|key| (key, ApiKeyText::write(principal.tenant(), id, &secret))))
    }

    /// At most `limit` keys that `principal` may see and revoke, newest first, that are older than `after`: its own, an administrator's
    /// those of its tenant.
    ///
    /// # Errors
    /// If Postgres fails.
    pub async fn list(&self, principal: &Principal, after: Option<ApiKeyId>, limit: u16) -> Result<Vec<ApiKey>, DatabaseError> {
        self.0.database.api_keys(principal.scope).list(within_reach(principal), after, limit).await
    }

    /// Revokes a key that [`ApiKeys::list`] lists: here it is over once this returns. Returns whether there was one.
    ///
    /// # Errors
    /// If Postgres fails.
    pub async fn revoke(&self, principal: &Principal, id: ApiKeyId) -> Result<bool, DatabaseError> {
        let was_there = self.0.database.api_keys(principal.scope).revoke(within_reach(principal), id, principal.user).await?;
        if was_there {
            self.revoked(principal.tenant(), id).await;
        }
        Ok(was_there)
    }

    /// Whose key this is, if it was good when it was last shown to this server. Asks nobody, and lets nobody in.
    #[must_use]
    pub fn acquaintance(&self, shown: &ShownKey, now: DateTime<Utc>) -> Option<UserId> {
        self.0.known.user(shown, now)
    }

    /// Who shows this key.
    ///
    /// # Errors
    /// [`ApiKeyError`].
    pub async fn verify(&self, shown: &ShownKey, now: DateTime<Utc>) -> Result<Principal, ApiKeyError> {
        match self.check(shown, now).await {
            Ok((key, principal)) => {
                self.0.known.meet(shown, key.user, key.expires_at);
                self.note_use(shown);
                Ok(principal)
            }
            Err(error) => {
                if matches!(error, ApiKeyError::Invalid) {
                    self.0.known.forget(shown);
                }
                Err(error)
            }
        }
    }

    async fn check(&self, shown: &ShownKey, now: DateTime<Utc>) -> Result<(StoredApiKey, Principal), ApiKeyError> {
        let (scope, look_up) = (scope(shown.tenant), &self.0.look_up);
        let key = look_up.key(scope, shown.id).await?.ok_or(ApiKeyError::Invalid)?;
        if key.secret != shown.secret || key.expires_at.is_some_and(|end| end <= now) {
            return Err(ApiKeyError::Invalid);
        }
        let (user, tenant) = tokio::try_join!(look_up.user(scope, key.user), look_up.tenant(scope))?;
        let (user, tenant) = user.zip(tenant).ok_or(ApiKeyError::Invalid)?;
        if user.is_disabled || tenant.is_suspended {
            return Err(ApiKeyError::Invalid);
        }
        Ok((key, Principal { scope, user: key.user, role: user.role, credential: Credential::ApiKey(shown.id) }))
    }

    /// Hears of it when keys may have ended otherwise than by time. Some may be missed by a slow listener, who is told so.
    #[must_use]
    pub fn endings(&self) -> broadcast::Receiver<Ending> {
        self.0.ended.subscribe()
    }

    /// Forgets a key that was revoked, perhaps by another server.
    pub async fn revoked(&self, tenant: TenantId, id: ApiKeyId) {
        self.0.known.forget_id(id);
        self.0.look_up.forget_key(tenant, id);
        self.tell_ended(Ending::Key(id));
        warn_unless_forgotten(self.0.look_up.revoked(tenant, id).await, Ending::Key(id));
    }

    /// Forgets what is known of whose row was changed.
    pub async fn changed(&self, whose: Whose) {
        self.0.look_up.forget_owner(whose);
        self.tell_ended(Ending::Of(whose));
        warn_unless_forgotten(self.0.look_up.changed(whose).await, Ending::Of(whose));
    }

    /// Lets whoever hears of [`ApiKeys::endings`] look again: changes may have been missed. What is cached is for its own to forget.
    pub fn missed_changes(&self) {
        self.tell_ended(Ending::Unheard);
    }

    fn tell_ended(&self, ending: Ending) {
        // Nobody may be listening.
        let _ = self.0.ended.send(ending);
    }

    /// Has it written down that a key was used, beside the request and now and then only.
    fn note_use(&self, shown: &ShownKey) {
        let Ok(turn) = self.0.noting.clone().try_acquire_owned() else { return };
        if !self.0.known.is_note_due(shown, NOTE_INTERVAL) {
            return;
        }
        let (keys, scope, id) = (self.clone(), scope(shown.tenant), shown.id);
        self.0.tasks.spawn(async move {
            if let Err(error) = keys.0.database.api_keys(scope).used(id, NOTE_INTERVAL).await {
                tracing::debug!(%error, api_key.id = %id, "when the key was last used is not written down");
            }
            drop(turn);
        });
    }
}

fn warn_unless_forgotten(forgotten: Result<(), CacheError>, of: Ending) {
    if let Err(error) = forgotten {
        tracing::warn!(%error, ?of, "what is cached of it in Redis lets keys in for some seconds, where nobody hears of the change");
    }
}

/// Whose keys `principal` sees and revokes: one user's, or everybody's.
const fn within_reach(principal: &Principal) -> Option<UserId> {
    match principal.role {
        UserRole::Member => Some(principal.user),
        UserRole::Admin | UserRole::Operator => None,
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "checking a key is what makes its bearer a tenant's: until then nothing is looked up but what it is checked against"
)]
const fn scope(tenant: TenantId) -> TenantScope {
    TenantScope::assume_verified(tenant)
}
