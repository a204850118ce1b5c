//! Refusing sessions that are over because somebody changed a password, disabled a user, suspended a tenant or ended its other sessions;
//! forgetting what is cached of what was changed, and keys that were revoked; and getting to know servers that join.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::operator;
use crate::api_key::ApiKeys;
use crate::cache::Directory;
use crate::cli::Failure;
use crate::domain::{Cutoff, SessionsEnded, TenantId, UserId, Whose};
use crate::postgres::{Announcement, Announcements, Database};
use crate::replica::Replicas;
use crate::session::{Owner, Sessions};

/// Waits before listening again: the first, and the longest.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// Users that Postgres is asked about at once.
const BATCH: u16 = 500;

/// What is told of announcements, and what is asked about them.
pub(super) struct Follower {
    pub(super) database: Database,
    pub(super) sessions: Sessions,
    pub(super) api_keys: ApiKeys,
    pub(super) directory: Directory,
    pub(super) replicas: Replicas,
}

/// Listens on until the server stops: refuses and ends what is over, forgets what changed, and says who joined.
pub(super) async fn follow(follower: Follower, mut announcements: Announcements, stopping: CancellationToken) {
    loop {
        let lost = tokio::select! {
            () = stopping.cancelled() => return,
            lost = follower.hear(&mut announcements) => lost,
        };
        tracing::warn!(error = %lost, "cannot hear whose sessions end, what changes and who joins; trying again");
        announcements = tokio::select! {
            () = stopping.cancelled() => return,
            again = follower.begin_again() => again,
        };
    }
}

impl Follower {
    /// Begins to listen, and finds out what was said while nobody did: before that, nobody may be let in.
    pub(super) async fn begin(&self) -> Result<Announcements, Failure> {
        let announcements = self.database.announcements().await?;
        self.directory.missed_changes();
        self.api_keys.missed_changes();
        self.replicas.missed_joining();
        self.catch_up().await?;
        Ok(announcements)
    }

    async fn begin_again(&self) -> Announcements {
        let (mut wait, longest) = BACK_OFF;
        loop {
            tokio::time::sleep(wait).await;
            match self.begin().await {
                Ok(announcements) => return announcements,
                Err(error) => tracing::warn!(%error, "still cannot hear whose sessions end, what changes and who joins"),
            }
            wait = (wait * 2).min(longest);
        }
    }

    /// Listens until that fails. Returns why.
    async fn hear(&self, announcements: &mut Announcements) -> Failure {
        match self.try_hear(announcements).await {
            Ok(never) => match never {},
            Err(failure) => failure,
        }
    }

    async fn try_hear(&self, announcements: &mut Announcements) -> Result<Infallible, Failure> {
        loop {
            match announcements.next().await? {
                // Where Postgres does not say which sessions, it is asked again by whoever catches up.
                Announcement::SessionsEnd(whose) => self.end_heard(whose).await?,
                Announcement::SessionEnded(tenant, session) => {
                    if let Some(ended) = self.database.users(operator::scope(tenant)).ended_session(session).await? {
                        self.sessions.refuse_session(&ended);
                    }
                }
                // Who gets in comes first.
                Announcement::Changed(changed) => {
                    tokio::join!(self.api_keys.changed(changed), self.directory.changed(changed));
                }
                Announcement::ApiKeyRevoked(tenant, key) => self.api_keys.revoked(tenant, key).await,
                Announcement::ReplicaJoined(id) => self.replicas.joined(id),
            }
        }
    }

    /// Refuses what was ended within the longest life of a session, and ends what of it is in this process.
    async fn catch_up(&self) -> Result<(), Failure> {
        let within = self.sessions.longest_life();
        for tenant in self.database.tenants().sessions_ended(within).await? {
            self.sessions.refuse(&tenant);
            let users = self.database.users(operator::scope(tenant.whose.tenant()));
            for user in users.sessions_ended(within).await? {
                self.sessions.refuse(&user);
            }
            for session in users.ended_sessions(within).await? {
                self.sessions.refuse_session(&session);
            }
        }
        self.end(self.sessions.local_owners().unwrap_or_default()).await
    }

    async fn end_heard(&self, whose: Whose) -> Result<(), Failure> {
        if let Some(cutoff) = self.cutoff(whose).await? {
            self.sessions.refuse(&SessionsEnded { whose, cutoff, age: Duration::ZERO });
        }
        let owners = match (self.sessions.local_owners(), whose) {
            (Some(mut owners), _) => {
                owners.retain(|owner| whose.include(owner.tenant, owner.user));
                owners
            }
            (None, Whose::User(tenant, user)) => vec![Owner { tenant, user }],
            // They are refused when they are shown; each server would look for those of every user otherwise.
            (None, Whose::Tenant(_)) => Vec::new(),
        };
        self.end(owners).await
    }

    async fn cutoff(&self, whose: Whose) -> Result<Option<Cutoff>, Failure> {
        Ok(match whose {
            Whose::Tenant(tenant) => {
                let found = self.database.tenants().get(tenant).await?;
                found.map(|tenant| Cutoff { epoch: tenant.session_epoch, spared: None })
            }
            Whose::User(tenant, user) => self.database.users(operator::scope(tenant)).cutoffs(&[user]).await?.remove(&user),
        })
    }

    /// Ends in the store those sessions of `owners` that are over by what Postgres says of their users. They are refused already: a store
    /// that does not answer is not asked again.
    async fn end(&self, owners: Vec<Owner>) -> Result<(), Failure> {
        let mut tenants: BTreeMap<TenantId, Vec<UserId>> = BTreeMap::new();
        for owner in owners {
            tenants.entry(owner.tenant).or_default().push(owner.user);
        }
        let mut ended = 0;
        for (tenant, users) in tenants {
            for users in users.chunks(BATCH.into()) {
                let cutoffs = self.database.users(operator::scope(tenant)).cutoffs(users).await?;
                for &user in users {
                    match self.sessions.end_older(Owner { tenant, user }, cutoffs.get(&user).copied()).await {
                        Ok(some) => ended += some,
                        Err(error) => tracing::warn!(%error, "sessions that are over are still in the store; they let nobody in"),
                    }
                }
            }
        }
        if ended > 0 {
            tracing::info!(sessions = ended, "sessions were ended, each with all others of its user");
        }
        Ok(())
    }
}
