//! Opening the database that the settings name, or the server's own, with its tables up to date.

use std::time::Duration;

use super::Failure;
use crate::config::Config;
use crate::data_dir;
use crate::postgres::embedded::{Embedded, EmbeddedError};
use crate::postgres::{ConnectOptions, Database, DatabaseError};

/// How long a Postgres elsewhere is waited for: it may start at the same time as we do.
const PATIENCE: Duration = Duration::from_secs(30);

/// Waits between attempts to reach it: the first, and the longest.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// The database, and the Postgres that runs for it alone, if one does.
pub(super) struct Opened {
    pub(super) database: Database,
    embedded: Option<Embedded>,
}

impl Opened {
    /// Closes the database, and stops the embedded Postgres.
    pub(super) async fn close(self) -> Result<(), EmbeddedError> {
        self.database.close().await;
        match self.embedded {
            Some(embedded) => embedded.stop().await,
            None => Ok(()),
        }
    }
}

/// Opens the database.
pub(super) async fn database(settings: &Config) -> Result<Opened, Failure> {
    let (options, embedded) = match &settings.postgres.url {
        Some(url) => (Database::options(url.expose())?, None),
        None => {
            data_dir::create(&settings.server.data_dir)?;
            let embedded = Embedded::open(&settings.server.data_dir).await?;
            (embedded.connect_options(), Some(embedded))
        }
    };
    let options = options.application_name("agentapi");
    let migrated = migrate(&options).await;
    let postgres = &settings.postgres;
    let database = Database::new(options, postgres.max_connections, postgres.connection_timeout);
    let opened = Opened { database, embedded };
    if let Err(error) = migrated {
        opened.close().await?;
        return Err(error.into());
    }
    Ok(opened)
}

async fn migrate(options: &ConnectOptions) -> Result<(), DatabaseError> {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    let (mut wait, longest) = BACK_OFF;
    loop {
        match Database::migrate(options).await {
            Err(DatabaseError::Unavailable(error)) if tokio::time::Instant::now() < deadline => {
                tracing::warn!(%error, "waiting for Postgres");
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(longest);
            }
            result => return result,
        }
    }
}
