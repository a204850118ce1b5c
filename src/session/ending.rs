//! How sessions end otherwise than by time, and who hears of it.

use std::time::Duration;

use tokio::sync::broadcast;
use tokio::time::Instant;

use super::record::Record;
use super::{CLOCK_SKEW, Owner, Sessions, StoredSession};
use crate::domain::{Credential, Cutoff, EndedSession, Principal, SessionId, SessionsEnded, StoreUnavailable, User, Whose};

impl Sessions {
    /// Ends one session of `principal`'s user. Returns whether there was one.
    ///
    /// # Errors
    /// [`StoreUnavailable`]; the session may or may not have ended.
    pub async fn end(&self, principal: &Principal, session: SessionId) -> Result<bool, StoreUnavailable> {
        let owner = Owner { tenant: principal.tenant(), user: principal.user };
        // Only a session in the user's own index can be its own; ids are never enough to end somebody else's.
        let is_own = principal.credential == Credential::Session(session);
        if !is_own && !self.store.list(owner).await?.iter().any(|stored| stored.id == session) {
            return Ok(false);
        }
        let ended = self.end_these(owner, &[session]).await?;
        self.mark_ended(owner, &[session], Duration::ZERO);
        Ok(ended > 0)
    }

    /// Lets nobody in by a session that was ended, whatever the store has of it, and tells whoever hears of [`Sessions::endings`].
    pub fn refuse_session(&self, ended: &EndedSession) {
        let owner = Owner { tenant: ended.tenant, user: ended.user };
        self.mark_ended(owner, &[ended.session], ended.age);
        self.tell_ended(owner.sessions());
    }

    /// Refuses sessions from now on that were ended so long ago.
    pub(super) fn mark_ended(&self, owner: Owner, sessions: &[SessionId], age: Duration) {
        let until = Instant::now() + self.longest_life().saturating_sub(age);
        for &session in sessions {
            if !self.ended_by_id.insert(owner.tenant, session, until) {
                tracing::warn!("too many sessions were ended: of this one, only the store knows that it was");
            }
        }
    }

    /// Ends every session of `principal`'s user but its own, as Postgres has written it down.
    pub async fn end_others(&self, principal: &Principal, cutoff: Cutoff) {
        let owner = Owner { tenant: principal.tenant(), user: principal.user };
        self.refuse(&SessionsEnded { whose: owner.sessions(), cutoff, age: Duration::ZERO });
        if let Err(error) = self.end_older(owner, Some(cutoff)).await {
            tracing::warn!(%error, user.id = %owner.user, "sessions that are over are still in the store; they let nobody in");
        }
    }

    /// Lets nobody in by sessions that were ended, whatever the store has of them, from now until they are past their absolute end;
    /// and tells whoever hears of [`Sessions::endings`].
    pub fn refuse(&self, ended: &SessionsEnded) {
        self.over.mark(ended, self.longest_life(), Instant::now());
        self.tell_ended(ended.whose);
    }

    /// How long ago sessions were ended at most, if any of them may still be shown: their absolute life, and what two servers' clocks
    /// may differ from a third.
    #[must_use]
    pub fn longest_life(&self) -> Duration {
        (self.absolute + CLOCK_SKEW * 2).to_std().unwrap_or_default()
    }

    /// Ends those sessions of `owner` in the store that are over by `cutoff`; all, if there is no such user any more. A record that does
    /// not open does not tell that its session is newer. Returns how many.
    ///
    /// # Errors
    /// [`StoreUnavailable`]; any of them may or may not have ended.
    pub async fn end_older(&self, owner: Owner, cutoff: Option<Cutoff>) -> Result<u64, StoreUnavailable> {
        let is_over = |stored: &StoredSession| {
            let record = Record::open(&self.keys, owner, stored.id, &stored.record);
            cutoff.is_none_or(|cutoff| cutoff.ends(stored.id, record.map_or(i64::MIN, |record| record.epoch)))
        };
        let over: Vec<SessionId> =
            self.store.list(owner).await?.iter().filter(|stored| is_over(stored)).map(|stored| stored.id).collect();
        self.end_these(owner, &over).await
    }

    /// Ends a session of `user` that was opened a moment ago, and that nobody was told of.
    ///
    /// # Errors
    /// [`StoreUnavailable`]; it may or may not have ended.
    pub async fn withdraw(&self, user: &User, session: SessionId) -> Result<(), StoreUnavailable> {
        self.store.end(Owner { tenant: user.tenant_id, user: user.id }, &[session]).await?;
        Ok(())
    }

    /// Whether other servers know the sessions too.
    #[must_use]
    pub fn are_shared(&self) -> bool {
        self.store.local_owners().is_none()
    }

    /// Everybody who has sessions in this process alone; nothing where sessions are shared.
    #[must_use]
    pub fn local_owners(&self) -> Option<Vec<Owner>> {
        self.store.local_owners()
    }

    /// Hears of it when sessions end otherwise than by time, as far as this server knows. Some may be missed by a slow listener, who is told so.
    #[must_use]
    pub fn endings(&self) -> broadcast::Receiver<Whose> {
        self.ended.subscribe()
    }

    async fn end_these(&self, owner: Owner, sessions: &[SessionId]) -> Result<u64, StoreUnavailable> {
        let ended = self.store.end(owner, sessions).await?;
        if ended > 0 {
            self.tell_ended(owner.sessions());
        }
        Ok(ended)
    }

    /// Tells whoever hears of [`Sessions::endings`] that some of these sessions have ended, perhaps not by this server.
    pub fn tell_ended(&self, whose: Whose) {
        // Nobody may be listening.
        let _ = self.ended.send(whose);
    }

    /// Ends in the store what is over already. That it fails costs nothing: it lets nobody in, and ends by its own time.
    pub(super) async fn clear(&self, owner: Owner, session: SessionId) {
        if let Err(error) = self.store.end(owner, &[session]).await {
            tracing::debug!(%error, "a session that is over is still in the store");
        }
    }
}
