//! Telling all servers that sessions end: `NOTIFY` in the transaction of the change that ends them, heard once it is committed.
//!
//! What is heard is no more than a hint where to look. The truth is `users.session_epoch`, so that whoever was not listening can find
//! out later, and a notification that somebody else sends ends nobody's session.

use std::time::Duration;

use sqlx::postgres::{PgListener, PgPoolOptions};
use sqlx::{Postgres, Transaction};

use super::{Database, DatabaseError};
use crate::domain::SessionsOf;

const CHANNEL: &str = "agentapi_session_ends";

/// After so long a silence the connection is tried: a peer that vanished sends no reset.
const SILENCE: Duration = Duration::from_secs(30);

/// Longest that Postgres may take to answer a listener.
const PATIENCE: Duration = Duration::from_secs(5);

/// Hears whose sessions end, on a connection of its own, from when it was made until that fails.
pub struct SessionEnds {
    listener: PgListener,
}

impl Database {
    /// Begins to listen.
    ///
    /// # Errors
    /// If Postgres fails.
    pub async fn session_ends(&self) -> Result<SessionEnds, DatabaseError> {
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
        listener.listen(CHANNEL).await?;
        Ok(SessionEnds { listener })
    }
}

impl SessionEnds {
    /// Whose sessions end next.
    ///
    /// # Errors
    /// If the connection failed: what is said from then on is not heard.
    pub async fn next(&mut self) -> Result<SessionsOf, DatabaseError> {
        loop {
            match tokio::time::timeout(SILENCE, self.listener.try_recv()).await {
                Ok(Ok(Some(heard))) => match heard.payload().parse() {
                    Ok(whose) => return Ok(whose),
                    Err(_) => tracing::warn!("a notification of another kind was heard"),
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
pub(super) async fn announce(transaction: &mut Transaction<'_, Postgres>, whose: SessionsOf) -> Result<(), DatabaseError> {
    sqlx::query("SELECT pg_notify($1, $2)").bind(CHANNEL).bind(whose.to_string()).execute(&mut **transaction).await?;
    Ok(())
}
