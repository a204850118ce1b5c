//! The Redis to use, if any.

use std::time::Duration;

use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use super::error::Problem;
use super::section::Section;
use super::value::{self, SecretUrl};

/// Which Redis, by which protocol.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(default)]
pub struct Redis {
    /// Whether Redis is used; unset: if an endpoint is set.
    #[serde(rename = "redis_enable", deserialize_with = "value::optional_boolean")]
    pub enable: Option<bool>,
    /// How Redis is spoken to.
    #[serde(rename = "redis_protocol")]
    pub protocol: Protocol,
    /// Upstash REST endpoint.
    #[serde(deserialize_with = "value::https_url")]
    pub upstash_redis_rest_url: Option<SecretUrl>,
    /// Upstash REST token.
    #[serde(with = "value::secret")]
    pub upstash_redis_rest_token: Option<SecretString>,
    /// Upstash native endpoint; preferred to `REDIS_URL`.
    #[serde(deserialize_with = "value::redis_url")]
    pub upstash_redis_url: Option<SecretUrl>,
    /// Native endpoint.
    #[serde(rename = "redis_url", deserialize_with = "value::redis_url")]
    pub url: Option<SecretUrl>,
    /// Password, used where the URL has none.
    #[serde(rename = "redis_password", with = "value::secret")]
    pub password: Option<SecretString>,
    /// Connections held at most.
    #[serde(rename = "redis_max_pool_size", deserialize_with = "value::whole::<_, 1, 1000, _>")]
    pub max_pool_size: usize,
    /// Bound on making a connection.
    #[serde(rename = "redis_connection_timeout", with = "value::duration")]
    pub connection_timeout: Duration,
    /// Bound on one command, waiting for a connection included: what a request waits at most for Redis.
    #[serde(rename = "redis_command_timeout", with = "value::duration")]
    pub command_timeout: Duration,
}

/// How Redis is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// The Redis protocol over TCP or TLS.
    Native,
    /// Upstash's REST API.
    Rest,
}

impl Default for Redis {
    fn default() -> Self {
        Self {
            enable: None,
            protocol: Protocol::Native,
            upstash_redis_rest_url: None,
            upstash_redis_rest_token: None,
            upstash_redis_url: None,
            url: None,
            password: None,
            max_pool_size: 10,
            connection_timeout: Duration::from_secs(5),
            command_timeout: Duration::from_millis(500),
        }
    }
}

impl Redis {
    /// Whether Redis is used at all.
    #[must_use]
    pub fn enabled(&self) -> bool {
        self.enable.unwrap_or_else(|| self.native_url().is_some() || self.upstash_redis_rest_url.is_some())
    }

    /// The endpoint for the native protocol.
    #[must_use]
    pub fn native_url(&self) -> Option<&SecretUrl> {
        self.upstash_redis_url.as_ref().or(self.url.as_ref())
    }
}

impl Section for Redis {
    const SECRETS: &'static [&'static str] =
        &["UPSTASH_REDIS_REST_URL", "UPSTASH_REDIS_REST_TOKEN", "UPSTASH_REDIS_URL", "REDIS_URL", "REDIS_PASSWORD"];

    fn check(&self, problems: &mut Vec<Problem>) {
        if !self.enabled() {
            return;
        }
        match self.protocol {
            Protocol::Native if self.native_url().is_none() => {
                problems.push(Problem::new("REDIS_URL", "", "an endpoint in REDIS_URL or UPSTASH_REDIS_URL while Redis is on"));
            }
            Protocol::Native => {}
            Protocol::Rest => problems.push(Problem::new(
                "REDIS_PROTOCOL",
                "rest",
                "native: this version does not speak the REST protocol yet; Upstash is reached by UPSTASH_REDIS_URL=rediss://…",
            )),
        }
    }
}
