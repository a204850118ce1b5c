//! Ending sessions from the command line: in Redis, where they are kept there, before the command says that it is done.
//!
//! Servers that keep sessions themselves hear of it from Postgres, in the transaction of the change that ended them.

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

/// Ends all sessions of a user.
pub(super) async fn of_user(settings: &Config, tenant: TenantId, user: UserId) -> Result<(), Failure> {
    let Some(store) = shared_store(settings)? else { return Ok(()) };
    end(&store, Owner { tenant, user }).await
}

/// Ends all sessions of a tenant's users.
pub(super) async fn of_tenant(settings: &Config, database: &Database, tenant: TenantId) -> Result<(), Failure> {
    let Some(store) = shared_store(settings)? else { return Ok(()) };
    let mut after = None;
    loop {
        let users = database.users(operator::scope(tenant)).ids(after, BATCH).await?;
        for &user in &users {
            end(&store, Owner { tenant, user }).await?;
        }
        match users.last() {
            Some(&last) => after = Some(last),
            None => return Ok(()),
        }
    }
}

async fn end(store: &RedisSessionStore, owner: Owner) -> Result<(), Failure> {
    let ended = async {
        let ids: Vec<SessionId> = store.list(owner).await?.iter().map(|stored| stored.id).collect();
        store.end(owner, &ids).await
    };
    ended.await.map_err(|error| format!("the change is made, but sessions in Redis live on: {error}; run the command again"))?;
    Ok(())
}
