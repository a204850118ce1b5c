//! The Postgres to use.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::section::Section;
use super::value::{self, SecretUrl};

/// Which Postgres, and how many connections to it.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(default)]
pub struct Postgres {
    /// The database; unset, the server runs a private Postgres under its data directory.
    #[serde(rename = "database_url", deserialize_with = "value::postgres_url")]
    pub url: Option<SecretUrl>,
    /// Connections held at most.
    #[serde(rename = "database_max_connections", deserialize_with = "value::whole::<_, 1, 1000, _>")]
    pub max_connections: u32,
    /// How long a request waits for a connection.
    #[serde(rename = "database_connection_timeout", with = "value::duration")]
    pub connection_timeout: Duration,
}

impl Default for Postgres {
    fn default() -> Self {
        Self { url: None, max_connections: 10, connection_timeout: Duration::from_secs(5) }
    }
}

impl Section for Postgres {
    const SECRETS: &'static [&'static str] = &["DATABASE_URL"];
}
