//! Telling all servers that sessions end, that rows changed, that an API key is revoked, and that a server joined: `NOTIFY` in the
//! transaction of the change, heard once it is committed.
//!
//! What is heard is no more than a hint where to look. The truth is in the rows (of sessions, `users.session_epoch` and `ended_sessions`), so that whoever
//! was not listening can find out later, and a notification that somebody else sends ends nobody's session.

use std::time::Duration;

use sqlx::postgres::{PgListener, PgPoolOptions};
use sqlx::{Postgres, Transaction};

use super::{Database, DatabaseError};
use crate::domain::{ApiKeyId, ReplicaId, SessionId, TenantId, Whose};

const SESSION_ENDS: &str = "agentapi_session_ends";

const SESSION_ENDED: &str = "agentapi_session_ended";

const CHANGES: &str = "agentapi_changes";

const API_KEYS: &str = "agentapi_api_keys";

const REPLICA_JOINS: &str = "agentapi_replica_joins";

/// After so long a silence the connection is tried: a peer that vanished sends no reset.
const SILENCE: Duration = Duration::from_secs(30);

/// Longest that Postgres may take to answer a listener.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Announcement {
    /// These sessions end.
    SessionsEnd(Whose),
    /// This session of this tenant was ended by itself. Written `tenant/session`.
    SessionEnded(TenantId, SessionId),
    /// This changed.
    Changed(Whose),
    /// This key of this tenant is revoked. Written `tenant/key`.
    ApiKeyRevoked(TenantId, ApiKeyId),
    /// This server counts as living from now on.
    ReplicaJoined(ReplicaId),
}

impl Announcement {
    fn parse(channel: &str, payload: &str) -> Option<Self> {
        match channel {
            SESSION_ENDS => payload.parse().ok().map(Self::SessionsEnd),
            SESSION_ENDED => {
                let (tenant, session) = payload.split_once('/')?;
                Some(Self::SessionEnded(tenant.parse().ok()?, session.parse().ok()?))
            }
            CHANGES => payload.parse().ok().map(Self::Changed),
            API_KEYS => {
                let (tenant, key) = payload.split_once('/')?;
                Some(Self::ApiKeyRevoked(tenant.parse().ok()?, key.parse().ok()?))
            }
            REPLICA_JOINS => payload.parse().ok().map(Self::ReplicaJoined),
            _ => None,
        }
    }
}

/// Hears what is announced, on a connection of its own, from when it was made until that fails.
pub struct Announcements {
    listener: PgListener,
}

impl Database {
    /// Begins to listen.
    ///
    /// # Errors
    /// If Postgres fails.
    pub async fn announcements(&self) -> Result<Announcements, DatabaseError> {
        // Not one of the pool's connections: those are for requests, and there may be only one.
        let options = self.pool.connect_options().as_ref().clone();
        let own = PgPoolOptions::new()
            .max_connections(1)
            .acquire_timeout(PATIENCE)
            .max_lifetime(None)
            .idle_timeout(None)
            .connect_with(options)
            .await?;
        let mut listener = PgListener::connect_with(&own).await?;
        // Whoever listens must know when it did not.
        listener.eager_reconnect(false);
        listener.listen_all([SESSION_ENDS, SESSION_ENDED, CHANGES, API_KEYS, REPLICA_JOINS]).await?;
        Ok(Announcements { listener })
    }
}

impl Announcements {
    /// What is announced next.
    ///
    /// # Errors
    /// If the connection failed: what is said from then on is not heard.
    pub async fn next(&mut self) -> Result<Announcement, DatabaseError> {
        loop {
            match tokio::time::timeout(SILENCE, self.listener.try_recv()).await {
                Ok(Ok(Some(heard))) => match Announcement::parse(heard.channel(), heard.payload()) {
                    Some(announcement) => return Ok(announcement),
                    None => tracing::warn!("a notification of another kind was heard"),
                },
                Ok(Ok(None)) => return Err(lost()),
                Ok(Err(error)) => return Err(error.into()),
                Err(_) => self.try_connection().await?,
            }
        }
    }

    async fn try_connection(&mut self) -> Result<(), DatabaseError> {
        let answer = tokio::time::timeout(PATIENCE, sqlx::query("SELECT 1").execute(&mut self.listener)).await;
        answer.map_err(|_| lost())??;
        Ok(())
    }
}

fn lost() -> DatabaseError {
    DatabaseError::Unavailable(sqlx::Error::Io(std::io::ErrorKind::ConnectionAborted.into()))
}

/// Tells every server that listens, once the transaction is committed.
pub(super) async fn announce(
    transaction: &mut Transaction<'_, Postgres>,
    announcement: Announcement,
) -> Result<(), DatabaseError> {
    let (channel, payload) = match announcement {
        Announcement::SessionsEnd(whose) => (SESSION_ENDS, whose.to_string()),
        Announcement::SessionEnded(tenant, session) => (SESSION_ENDED, format!("{tenant}/{session}")),
        Announcement::Changed(changed) => (CHANGES, changed.to_string()),
        Announcement::ApiKeyRevoked(tenant, key) => (API_KEYS, format!("{tenant}/{key}")),
        Announcement::ReplicaJoined(id) => (REPLICA_JOINS, id.to_string()),
    };
    sqlx::query("SELECT pg_notify($1, $2)").bind(channel).bind(payload).execute(&mut **transaction).await?;
    Ok(())
}
