//! Sessions and their tokens.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::error::Problem;
use super::section::Section;
use super::value::{self, EncryptionKey};

/// Where sessions are kept, and for how long.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(default)]
pub struct Session {
    /// Where sessions are kept; unset: in Redis if Redis is on, else in the process.
    #[serde(rename = "session_storage")]
    pub storage: Option<SessionStorage>,
    /// How long an unused session lives; each use starts it anew.
    #[serde(rename = "session_ttl", with = "value::duration")]
    pub ttl: Duration,
    /// How long a session lives at most, however much it is used.
    #[serde(rename = "session_absolute_ttl", with = "value::duration")]
    pub absolute_ttl: Duration,
    /// How often ended sessions are cleared from indexes and from the process's memory.
    #[serde(rename = "session_cleanup_interval", with = "value::duration")]
    pub cleanup_interval: Duration,
    /// Key that seals session tokens and secrets at rest; unset, one is made and kept in the data directory.
    pub token_encryption_key: Option<EncryptionKey>,
}

/// Where sessions are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SessionStorage {
    /// In Redis: they survive a restart, and all replicas know them.
    Redis,
    /// In this process.
    Memory,
}

impl Default for Session {
    fn default() -> Self {
        Self {
            storage: None,
            ttl: Duration::from_secs(3600),
            absolute_ttl: Duration::from_secs(12 * 3600),
            cleanup_interval: Duration::from_secs(300),
            token_encryption_key: None,
        }
    }
}

impl Section for Session {
    const SECRETS: &'static [&'static str] = &["TOKEN_ENCRYPTION_KEY"];

    fn check(&self, problems: &mut Vec<Problem>) {
        if self.absolute_ttl < self.ttl {
            let shown = format!("{}s", self.absolute_ttl.as_secs());
            problems.push(Problem::new("SESSION_ABSOLUTE_TTL", &shown, "a duration not shorter than SESSION_TTL"));
        }
    }
}
