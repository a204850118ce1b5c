//! What the other rooms ask of Redis, in their words: each one round trip, unless it says otherwise.

use std::time::Duration;

use redis::{FromRedisValue, Value};

use super::script::SESSION_CREATE;
use super::{Key, Redis};
use crate::domain::{SessionId, StoreUnavailable, TenantId, UserId};

/// Calls that open a session at most: each after the first means that another session of the same user began in between.
const CREATE_ATTEMPTS: usize = 10;

/// What is added to a session's beginning to make its score in the index (the year 5138). Versions before scored it by its latest end:
/// those scores are lower, and so of older sessions; and to them ours lie so far ahead that they do not clear them as past.
const SCORE_OF_1970: i64 = 100_000_000_000_000;

/// A session as Redis keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionEntry {
    /// The session.
    pub id: SessionId,
    /// Its sealed record.
    pub record: String,
    /// How long it lives unless it is used.
    pub idle_left: Duration,
}

impl Redis {
    /// Writes a session with its idle life, and puts it into its user's index, which lives until `ends_at_ms` (since 1970) at least. Where
    /// the user would have more than `cap`, those that began first end in the same step; returns those. A second round trip where sessions must end, for a
    /// script may only touch keys that it was told beforehand.
    ///
    /// # Errors
    /// [`StoreUnavailable`]; the session may or may not have been written.
    pub async fn create_session(
        &self,
        (tenant, user, id): (TenantId, UserId, SessionId),
        record: &str,
        idle: Duration,
        (now_ms, ends_at_ms): (i64, i64),
        cap: usize,
    ) -> Result<Vec<SessionId>, StoreUnavailable> {
        let (mut index, score): (Vec<SessionId>, _) = (Vec::new(), SCORE_OF_1970 + now_ms);
        for _ in 0..CREATE_ATTEMPTS {
            let mut call = SESSION_CREATE.prepare_invoke();
            call.key(Key::session(id)).key(Key::user_sessions(tenant, user));
            call.arg(record).arg(millis(idle)).arg(id.to_string()).arg(score).arg((ends_at_ms - now_ms).max(1)).arg(cap);
            for &other in &index {
                call.key(Key::session(other)).arg(other.to_string());
            }
            let (done, sids): (bool, Vec<String>) = self.run(async |link| call.invoke_async(link).await).await?;
            let ids = sids.iter().filter_map(|sid| sid.parse().ok()).collect();
            if done {
                return Ok(ids);
            }
            index = ids;
        }
        Err(StoreUnavailable("the user's sessions keep changing".to_owned()))
    }

    /// Reads a session's record and lets it live for `idle` from now. Nothing if there is no such session.
    ///
    /// # Errors
    /// [`StoreUnavailable`].
    pub async fn touch_session(&self, id: SessionId, idle: Duration) -> Result<Option<String>, StoreUnavailable> {
        let mut command = redis::Cmd::with_capacity(4, 64);
        command.arg("GETEX").arg(Key::session(id)).arg("PX").arg(millis(idle));
        self.run(async |link| command.query_async(link).await).await
    }

    /// Ends sessions of a user. Returns how many of them were there.
    ///
    /// # Errors
    /// [`StoreUnavailable`]; any of them may or may not have ended.
    pub async fn end_sessions(&self, tenant: TenantId, user: UserId, ids: &[SessionId]) -> Result<u64, StoreUnavailable> {
        if ids.is_empty() {
            return Ok(0);
        }
        let mut calls = redis::pipe();
        calls.atomic();
        calls.cmd("DEL").arg(ids.iter().map(|&id| Key::session(id)).collect::<Vec<_>>());
        calls
            .cmd("ZREM")
            .arg(Key::user_sessions(tenant, user))
            .arg(ids.iter().map(ToString::to_string).collect::<Vec<_>>())
            .ignore();
        let (ended,): (u64,) = self.run(async |link| calls.query_async(link).await).await?;
        Ok(ended)
    }

    /// The living sessions of a user. Two round trips, and a third where the index names sessions that are gone.
    ///
    /// # Errors
    /// [`StoreUnavailable`].
    pub async fn list_sessions(&self, tenant: TenantId, user: UserId) -> Result<Vec<SessionEntry>, StoreUnavailable> {
        let index = Key::user_sessions(tenant, user);
        let mut range = redis::cmd("ZRANGE");
        range.arg(&index).arg(0).arg(-1);
        let members: Vec<String> = self.run(async |link| range.query_async(link).await).await?;
        let ids: Vec<SessionId> = members.iter().filter_map(|member| member.parse().ok()).collect();
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let mut reads = redis::pipe();
        for &id in &ids {
            reads.cmd("GET").arg(Key::session(id)).cmd("PTTL").arg(Key::session(id));
        }
        let values: Vec<Value> = self.run(async |link| reads.query_async(link).await).await?;
        let entry = |(&id, pair): (&SessionId, &[Value])| {
            let record = Option::<String>::from_redis_value(pair.first()?.clone()).ok()??;
            let left = i64::from_redis_value(pair.get(1)?.clone()).ok()?;
            Some(SessionEntry { id, record, idle_left: Duration::from_millis(u64::try_from(left).ok()?) })
        };
        let living: Vec<SessionEntry> = ids.iter().zip(values.chunks(2)).filter_map(entry).collect();
        let gone: Vec<SessionId> = ids.into_iter().filter(|id| living.iter().all(|entry| entry.id != *id)).collect();
        self.end_sessions(tenant, user, &gone).await?;
        Ok(living)
    }
}

/// Whole milliseconds, at least one: Redis refuses a life of zero.
pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).max(1)
}
