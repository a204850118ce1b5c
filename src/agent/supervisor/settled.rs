//! Conversations of agents that have ended.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::cache::{Cache, Kind, Policy};
use crate::domain::{Agent, AgentId, CacheId, Message, TenantScope};
use crate::postgres::{Database, DatabaseError};

/// Nobody changes such a conversation: Postgres takes no messages of a life that is over, and an agent that runs again ends at another
/// time, so that its conversation has another key then. The bounds are for the sake of Redis, which sessions live in too: a user at the default limit fills 6 MB of it at most.
const CONVERSATION: Kind<EndedAgent, Arc<[Message]>> = Kind::new(Policy {
    name: "conversation",
    near: Duration::from_secs(30),
    life: Duration::from_secs(120),
    max_bytes: 32 * 1024,
});

/// An agent, as it ended at a time.
struct EndedAgent {
    id: AgentId,
    ended_at: DateTime<Utc>,
}

impl fmt::Display for EndedAgent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.id, self.ended_at.timestamp_micros())
    }
}

impl CacheId for EndedAgent {}

/// The conversation of `agent` as it is written: cached once the agent has ended, when all is written that will be.
pub(super) async fn conversation(
    cache: &Cache,
    database: &Database,
    scope: TenantScope,
    agent: &Agent,
) -> Result<Arc<[Message]>, DatabaseError> {
    let id = agent.id;
    let Some(ended_at) = agent.ended_at else { return database.messages(scope).list(id).await };
    let database = database.clone();
    let fill = move || {
        let database = database.clone();
        async move { database.messages(scope).list(id).await.map(Some) }
    };
    let cached = cache.get(&CONVERSATION, scope.tenant(), EndedAgent { id, ended_at }, fill).await?;
    Ok(cached.unwrap_or_default())
}
