//! Sessions and their tokens.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::error::Problem;
use super::section::Section;
use super::value::{self, EncryptionKey, MASK};

const PREVIOUS: &str = "TOKEN_ENCRYPTION_KEYS_PREVIOUS";

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
    /// Sessions that a user may have at once; one more ends the oldest.
    #[serde(rename = "session_max_per_user", deserialize_with = "value::whole::<_, 1, 1000, _>")]
    pub max_per_user: usize,
    /// How often ended sessions are cleared from indexes and from the process's memory.
    #[serde(rename = "session_cleanup_interval", with = "value::duration")]
    pub cleanup_interval: Duration,
    /// Key that seals session tokens and secrets at rest; unset, one is made and kept in the data directory.
    pub token_encryption_key: Option<EncryptionKey>,
    /// Keys that open but do not seal, separated by commas: those used before, or to be used next.
    #[serde(deserialize_with = "value::encryption_keys")]
    pub token_encryption_keys_previous: Vec<EncryptionKey>,
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
            max_per_user: 20,
            cleanup_interval: Duration::from_secs(300),
            token_encryption_key: None,
            token_encryption_keys_previous: Vec::new(),
        }
    }
}

impl Section for Session {
    const SECRETS: &'static [&'static str] = &["TOKEN_ENCRYPTION_KEY", PREVIOUS];

    fn check(&self, problems: &mut Vec<Problem>) {
        if self.absolute_ttl < self.ttl {
            let shown = format!("{}s", self.absolute_ttl.as_secs());
            problems.push(Problem::new("SESSION_ABSOLUTE_TTL", &shown, "a duration not shorter than SESSION_TTL"));
        }
        let mut seen: Vec<&[u8; 32]> = self.token_encryption_key.iter().map(EncryptionKey::expose).collect();
        for key in self.token_encryption_keys_previous.iter().map(EncryptionKey::expose) {
            if seen.contains(&key) {
                problems.push(Problem::new(PREVIOUS, MASK, "keys that differ from TOKEN_ENCRYPTION_KEY and from each other"));
                return;
            }
            seen.push(key);
        }
    }
}
