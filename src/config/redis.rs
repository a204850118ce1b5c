//! The Redis to use, if any.

use std::time::Duration;

use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use super::error::Problem;
use super::redis_url;
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
    #[serde(deserialize_with = "value::secret::deserialize_token", serialize_with = "value::secret::serialize")]
    pub upstash_redis_rest_token: Option<SecretString>,
    /// Upstash native endpoint; preferred to `REDIS_URL`.
    #[serde(deserialize_with = "redis_url::deserialize")]
    pub upstash_redis_url: Option<SecretUrl>,
    /// Native endpoint.
    #[serde(rename = "redis_url", deserialize_with = "redis_url::deserialize")]
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
    /// Bound on one command, waiting for a connection included.
    #[serde(rename = "redis_command_timeout", with = "value::duration")]
    pub command_timeout: Duration,
    /// Which text of the scripts the server takes.
    #[serde(rename = "redis_script_dialect")]
    pub script_dialect: ScriptDialect,
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

impl Protocol {
    /// Its name, as `REDIS_PROTOCOL` spells it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Rest => "rest",
        }
    }
}

/// Which text of the scripts the server takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ScriptDialect {
    /// Upstash's for REST and for hosts below `upstash.io`, else that of Redis.
    Auto,
    /// That of Redis.
    Redis,
    /// That of Upstash, which Redis refuses.
    Upstash,
}

/// Where Redis is, with what is needed to get in.
#[derive(Debug, Clone, Copy)]
pub enum Endpoint<'a> {
    /// By the native protocol.
    Native {
        /// `redis://` or `rediss://`.
        url: &'a SecretUrl,
        /// Used where the URL has no password.
        password: Option<&'a SecretString>,
    },
    /// By Upstash's REST API.
    Rest {
        /// `https://`, or `http://` for a look-alike.
        url: &'a SecretUrl,
        /// The database's token.
        token: &'a SecretString,
    },
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
            script_dialect: ScriptDialect::Auto,
        }
    }
}

impl Redis {
    /// Whether Redis is used at all.
    #[must_use]
    pub fn enabled(&self) -> bool {
        let named = || self.native_url().is_some() || self.upstash_redis_rest_url.is_some();
        self.enable.unwrap_or_else(|| self.protocol == Protocol::Rest || named())
    }

    /// Where Redis is; nothing if it is off.
    #[must_use]
    pub fn endpoint(&self) -> Option<Endpoint<'_>> {
        if !self.enabled() {
            return None;
        }
        match self.protocol {
            Protocol::Native => Some(Endpoint::Native { url: self.native_url()?, password: self.password.as_ref() }),
            Protocol::Rest => Some(Endpoint::Rest {
                url: self.upstash_redis_rest_url.as_ref()?,
                token: self.upstash_redis_rest_token.as_ref()?,
            }),
        }
    }

    /// Whether a complete REST pair is set beside another endpoint, which is used. (Upstash hands out both of its own together: with its
    /// native one in use, nobody is surprised.)
    #[must_use]
    pub fn ignores_rest(&self) -> bool {
        let pair = self.upstash_redis_rest_url.is_some() && self.upstash_redis_rest_token.is_some();
        pair && self.enabled() && self.protocol == Protocol::Native && self.upstash_redis_url.is_none()
    }

    /// The endpoint for the native protocol.
    fn native_url(&self) -> Option<&SecretUrl> {
        self.upstash_redis_url.as_ref().or(self.url.as_ref())
    }
}

impl Section for Redis {
    const SECRETS: &'static [&'static str] =
        &["UPSTASH_REDIS_REST_URL", "UPSTASH_REDIS_REST_TOKEN", "UPSTASH_REDIS_URL", "REDIS_URL", "REDIS_PASSWORD"];

    fn check(&self, problems: &mut Vec<Problem>) {
        if self.enable == Some(false) {
            return;
        }
        let mut missing = |variable, expected| problems.push(Problem::new(variable, "", expected));
        let (url, token) = (self.upstash_redis_rest_url.is_some(), self.upstash_redis_rest_token.is_some());
        match self.protocol {
            Protocol::Native => {
                // Half a pair was meant for something.
                if token && !url {
                    missing("UPSTASH_REDIS_REST_URL", "the database's https:// endpoint beside UPSTASH_REDIS_REST_TOKEN");
                }
                if url && !token {
                    missing("UPSTASH_REDIS_REST_TOKEN", "the database's token beside UPSTASH_REDIS_REST_URL");
                }
                if self.native_url().is_none() && self.enabled() {
                    missing("REDIS_URL", NATIVE_ENDPOINT);
                } else if self.native_url().is_none() && self.password.is_some() {
                    missing("REDIS_URL", "the endpoint that REDIS_PASSWORD is for, or REDIS_ENABLE=false");
                }
            }
            Protocol::Rest => {
                if !url {
                    missing("UPSTASH_REDIS_REST_URL", "the database's https:// endpoint while REDIS_PROTOCOL=rest");
                }
                if !token {
                    missing("UPSTASH_REDIS_REST_TOKEN", "the database's token while REDIS_PROTOCOL=rest");
                }
            }
        }
    }
}

const NATIVE_ENDPOINT: &str =
    "an endpoint in REDIS_URL or UPSTASH_REDIS_URL while Redis is on (or REDIS_PROTOCOL=rest with the UPSTASH_REDIS_REST_ pair)";
