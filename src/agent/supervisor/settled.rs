//! Conversations of agents that have ended.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::cache::{Cache, Kind, Policy};
use crate::domain::{Agent, AgentId, CacheId, Message, MessagePage, TenantScope};
use crate::postgres::{Database, DatabaseError};

/// Nobody changes such a conversation: Postgres takes no messages of a life that is over, and an agent that runs again ends at another
/// time, so that its conversation has another key then. The bounds are for the sake of Redis, which sessions live in too: a user at the
/// default limit fills some 12 MB of it at most.
const CONVERSATION: Kind<Settled, Arc<[Message]>> = Kind::new(Policy {
    name: "conversation",
    near: Duration::from_secs(30),
    life: Duration::from_secs(120),
    max_bytes: 64 * 1024,
});

/// What an agent said until it ended at a time: all of it, or a page.
struct Settled {
    id: AgentId,
    ended_at: DateTime<Utc>,
    page: Option<MessagePage>,
}

impl fmt::Display for Settled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.id, self.ended_at.timestamp_micros())?;
        let Some(page) = self.page else { return Ok(()) };
        write!(f, ":{}:{}", page.after.unwrap_or(-1), page.limit)
    }
}

impl CacheId for Settled {}

/// The conversation of `agent` as it is written, or a `page` of it: cached once the agent has ended, when all is written that will be.
pub(super) async fn conversation(
    cache: &Cache,
    database: &Database,
    scope: TenantScope,
    agent: &Agent,
    page: Option<MessagePage>,
) -> Result<Arc<[Message]>, DatabaseError> {
    let id = agent.id;
    let Some(ended_at) = agent.ended_at else { return database.messages(scope).list(id, page).await };
    let database = database.clone();
    let fill = move || {
        let database = database.clone();
        async move { database.messages(scope).list(id, page).await.map(Some) }
    };
    let cached = cache.get(&CONVERSATION, scope.tenant(), Settled { id, ended_at, page }, fill).await?;
    Ok(cached.unwrap_or_default())
}
