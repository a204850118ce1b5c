//! Conversations of agents that have ended.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::cache::{Cache, Kind, Policy};
use crate::domain::{Agent, AgentId, CacheId, Message, TenantScope};
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
    page: Option<Page>,
}

impl fmt::Display for Settled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.id, self.ended_at.timestamp_micros())?;
        let Some(page) = self.page else { return Ok(()) };
        write!(f, ":{}:{}", page.after.unwrap_or(-1), page.limit)
    }
}

impl CacheId for Settled {}

/// A part of a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    /// The message before the first one, by its id; nothing where the conversation's first is meant.
    pub after: Option<i64>,
    /// Messages at most.
    pub limit: u16,
}

impl Page {
    /// Its messages, of those of the whole conversation.
    pub(super) fn of(self, messages: &[Message]) -> &[Message] {
        let first = self.after.map_or(0, |after| messages.partition_point(|message| message.id <= after));
        let rest = &messages[first..];
        &rest[..rest.len().min(usize::from(self.limit))]
    }
}

/// The conversation of `agent` as it is written, or a `page` of it: cached once the agent has ended, when all is written that will be.
pub(super) async fn conversation(
    cache: &Cache,
    database: &Database,
    scope: TenantScope,
    agent: &Agent,
    page: Option<Page>,
) -> Result<Arc<[Message]>, DatabaseError> {
    let id = agent.id;
    let database = database.clone();
    let read = move || {
        let database = database.clone();
        async move {
            let messages = database.messages(scope);
            match page {
                Some(Page { after, limit }) => messages.page(id, after, limit).await,
                None => messages.list(id).await,
            }
        }
    };
    let Some(ended_at) = agent.ended_at else { return read().await };
    let fill = move || {
        let messages = read();
        async { messages.await.map(Some) }
    };
    let cached = cache.get(&CONVERSATION, scope.tenant(), Settled { id, ended_at, page }, fill).await?;
    Ok(cached.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{EventId, MessageRole};

    #[test]
    fn a_page_is_what_follows_by_id() {
        let said =
            |id| Message { id, role: MessageRole::Agent, content: "".into(), time: Utc::now(), event: EventId::from_i64(0) };
        // Ids of other servers may have gaps.
        let messages = [0, 1, 2, 5, 6].map(said);
        let ids = |after, limit| Page { after, limit }.of(&messages).iter().map(|message| message.id).collect::<Vec<_>>();
        assert_eq!(ids(None, 2), [0, 1]);
        assert_eq!(ids(Some(1), 2), [2, 5]);
        assert_eq!(ids(Some(3), 9), [5, 6]);
        assert_eq!(ids(Some(-7), 1), [0]);
        assert!(ids(Some(6), 1).is_empty() && ids(Some(i64::MAX), 1).is_empty() && ids(None, 0).is_empty());
    }
}
