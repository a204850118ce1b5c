//! Ending sessions here when somebody at the command line changed a password, disabled a user or suspended a tenant; forgetting what
//! is cached of what was changed; and getting to know servers that join.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::operator;
use crate::cache::Directory;
use crate::cli::Failure;
use crate::domain::{TenantId, UserId, Whose};
use crate::postgres::{Announcement, Database};
use crate::replica::Replicas;
use crate::session::{Owner, Sessions};

/// Waits before listening or trying again: the first, and the longest.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// Attempts to end the sessions that were heard of, some 6 s in all. Whoever ended them has ended those in Redis already.
const ATTEMPTS: u32 = 6;

/// Users that Postgres is asked about at once.
const BATCH: u16 = 500;

/// Listens until the server stops, ends in this server's store what is to end, forgets what changed, and says who joined.
pub(super) async fn follow(follower: Follower, stopping: CancellationToken) {
    let (mut wait, longest) = BACK_OFF;
    loop {
        let lost = tokio::select! {
            () = stopping.cancelled() => return,
            lost = follower.listen(&mut wait) => lost,
        };
        tracing::warn!(error = %lost, "cannot hear whose sessions end, what changes and who joins; trying again");
        if tokio::time::timeout(wait, stopping.cancelled()).await.is_ok() {
            return;
        }
        wait = (wait * 2).min(longest);
    }
}

/// What is told of announcements, and what is asked about them.
pub(super) struct Follower {
    pub(super) database: Database,
    pub(super) sessions: Sessions,
    pub(super) directory: Directory,
    pub(super) replicas: Replicas,
}

impl Follower {
    /// Listens until that fails. Returns why.
    async fn listen(&self, wait: &mut Duration) -> Failure {
        match self.try_listen(wait).await {
            Ok(never) => match never {},
            Err(failure) => failure,
        }
    }

    async fn try_listen(&self, wait: &mut Duration) -> Result<std::convert::Infallible, Failure> {
        let mut announcements = self.database.announcements().await?;
        self.directory.missed_changes();
        self.replicas.missed_joining();
        // What was said while nobody listened. Where sessions are shared, whoever ended them has done so in Redis.
        self.end(self.sessions.local_owners().unwrap_or_default()).await?;
        *wait = BACK_OFF.0;
        loop {
            match announcements.next().await? {
                Announcement::SessionsEnd(whose) => self.end_heard(whose).await,
                Announcement::Changed(changed) => self.directory.changed(changed).await,
                Announcement::ReplicaJoined(id) => self.replicas.joined(id),
            }
        }
    }

    async fn end_heard(&self, whose: Whose) {
        let (mut wait, longest) = BACK_OFF;
        for _ in 1..ATTEMPTS {
            match self.try_end_heard(whose).await {
                Ok(()) => return,
                Err(error) => tracing::warn!(%error, %whose, "sessions could not be ended; trying again"),
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(longest);
        }
        if let Err(error) = self.try_end_heard(whose).await {
            tracing::error!(%error, %whose, "sessions could not be ended: run the command again");
        }
    }

    async fn try_end_heard(&self, whose: Whose) -> Result<(), Failure> {
        self.end_all_of(whose).await?;
        // Event streams look again, also where somebody else was faster in ending their sessions.
        self.sessions.tell_ended(whose);
        Ok(())
    }

    async fn end_all_of(&self, whose: Whose) -> Result<(), Failure> {
        match (self.sessions.local_owners(), whose) {
            (Some(mut owners), _) => {
                owners.retain(|owner| whose.include(owner.tenant, owner.user));
                self.end(owners).await
            }
            (None, Whose::User(tenant, user)) => self.end(vec![Owner { tenant, user }]).await,
            (None, Whose::Tenant(tenant)) => self.end_tenant(tenant).await,
        }
    }

    async fn end_tenant(&self, tenant: TenantId) -> Result<(), Failure> {
        let mut after = None;
        loop {
            let ids = self.database.users(operator::scope(tenant)).ids(after, BATCH).await?;
            self.end(ids.iter().map(|&user| Owner { tenant, user }).collect()).await?;
            match ids.last() {
                Some(&last) => after = Some(last),
                None => return Ok(()),
            }
        }
    }

    /// Ends those sessions of `owners` that are over by what Postgres says of their users.
    async fn end(&self, owners: Vec<Owner>) -> Result<(), Failure> {
        let mut tenants: BTreeMap<TenantId, Vec<UserId>> = BTreeMap::new();
        for owner in owners {
            tenants.entry(owner.tenant).or_default().push(owner.user);
        }
        let mut ended = 0;
        for (tenant, users) in tenants {
            for users in users.chunks(BATCH.into()) {
                let epochs = self.database.users(operator::scope(tenant)).session_epochs(users).await?;
                for &user in users {
                    ended += self.sessions.end_older(Owner { tenant, user }, epochs.get(&user).copied()).await?;
                }
            }
        }
        if ended > 0 {
            tracing::info!(sessions = ended, "sessions were ended from the command line");
        }
        Ok(())
    }
}
