//! Ending sessions from the command line: in Redis, where they are kept there, before the command says that it is done.
//!
//! They are over already: servers hear of it from Postgres, in the transaction of the change that ended them, or find it out when they
//! listen (again), and let nobody in by what may be left of them.

use std::fmt;

use super::{Failure, operator};
use crate::config::{Config, SessionStorage};
use crate::domain::{SessionId, TenantId, UserId};
use crate::postgres::Database;
use crate::redis::Redis;
use crate::session::{Owner, RedisSessionStore, SessionStore};

/// Users whose sessions are looked for at once.
const BATCH: u16 = 500;

/// The sessions that servers share, if they do by these settings.
pub(super) fn shared_store(settings: &Config) -> Result<Option<RedisSessionStore>, Failure> {
    if !settings.redis.enabled() || settings.session.storage == Some(SessionStorage::Memory) {
        return Ok(None);
    }
    Ok(Some(RedisSessionStore::new(Redis::new(&settings.redis)?)))
}

/// What the command could do about sessions that are over; for people.
pub(super) enum Ended {
    /// They are not in Redis any more.
    InRedis,
    /// It has no Redis by its settings; servers may have another.
    ByServers,
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::InRedis => "sessions are ended",
            Self::ByServers => "sessions are over: servers that run now or later refuse them",
        })
    }
}

/// Ends all sessions of a user.
pub(super) async fn of_user(settings: &Config, tenant: TenantId, user: UserId) -> Result<Ended, Failure> {
    let Some(store) = shared_store(settings)? else { return Ok(Ended::ByServers) };
    end(&store, Owner { tenant, user }).await?;
    Ok(Ended::InRedis)
}

/// Ends all sessions of a tenant's users.
pub(super) async fn of_tenant(settings: &Config, database: &Database, tenant: TenantId) -> Result<Ended, Failure> {
    let Some(store) = shared_store(settings)? else { return Ok(Ended::ByServers) };
    let mut after = None;
    loop {
        let users = database.users(operator::scope(tenant)).ids(after, BATCH).await?;
        for &user in &users {
            end(&store, Owner { tenant, user }).await?;
        }
        match users.last() {
            Some(&last) => after = Some(last),
            None => return Ok(Ended::InRedis),
        }
    }
}

async fn end(store: &RedisSessionStore, owner: Owner) -> Result<(), Failure> {
    let ended = async {
        let ids: Vec<SessionId> = store.list(owner).await?.iter().map(|stored| stored.id).collect();
        store.end(owner, &ids).await
    };
    ended.await.map_err(|error| {
        format!(
            "the change is made, and servers refuse what it ended, but that is in Redis still: {error}; run the command again"
        )
    })?;
    Ok(())
}
