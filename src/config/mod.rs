//! The settings: environment variables, read by envy into one typed struct a section.
//!
//! Every section struct has a default for every variable, so each variable can be read alone: whatever fails then is that
//! variable's fault. That is how one start-up message can list *every* wrong setting, with its name and what it expects.

mod agent;
mod circuit_breaker;
mod error;
mod log;
mod postgres;
mod rate_limit;
mod redis;
mod redis_url;
mod replica;
mod section;
mod server;
mod session;
mod value;

use std::collections::BTreeMap;

pub use self::agent::Agent;
pub use self::circuit_breaker::CircuitBreaker;
pub use self::error::{ConfigError, Problem};
pub use self::log::{Log, LogFormat};
pub use self::postgres::Postgres;
pub use self::rate_limit::{RateLimit, RateLimitAlgorithm};
pub use self::redis::{Endpoint, Protocol, Redis, ScriptDialect};
pub use self::replica::Replica;
pub use self::server::Server;
pub use self::session::{Session, SessionStorage};
pub use self::value::{EncryptionKey, SecretUrl};

use self::section::{Section, read};

/// Name of the file with further settings, read from the working directory if present; the environment wins.
const ENV_FILE: &str = ".env";

/// The server's settings, valid by construction.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// Listening address, data directory, who may call.
    pub server: Server,
    /// Log level and format.
    pub log: Log,
    /// The Postgres to use.
    pub postgres: Postgres,
    /// The Redis to use, if any.
    pub redis: Redis,
    /// Sessions and their tokens.
    pub session: Session,
    /// Request rate limits.
    pub rate_limit: RateLimit,
    /// Circuit breakers around outgoing calls.
    pub circuit_breaker: CircuitBreaker,
    /// Being one of several servers.
    pub replica: Replica,
    /// What agents may be and do.
    pub agent: Agent,
}

impl Config {
    /// Reads `.env` in the working directory, if there is one, and the environment.
    ///
    /// # Errors
    /// [`ConfigError`] with every wrong variable, or the line of `.env` that cannot be read.
    pub fn from_env() -> Result<Self, ConfigError> {
        let mut variables = BTreeMap::new();
        match dotenvy::from_filename_iter(ENV_FILE) {
            Ok(lines) => {
                for line in lines {
                    let (name, value) = line.map_err(|error| ConfigError::env_file(&error))?;
                    variables.insert(name, value);
                }
            }
            Err(error) if error.not_found() => {}
            Err(error) => return Err(ConfigError::env_file(&error)),
        }
        variables.extend(
            std::env::vars_os()
                .filter_map(|(name, value)| Some((name.into_string().ok()?, value.to_string_lossy().into_owned()))),
        );
        Self::from_variables(&variables)
    }

    /// Reads the settings from `variables` alone. An empty value counts as unset, as compose files write unset ones.
    ///
    /// # Errors
    /// [`ConfigError`] with every wrong variable.
    pub fn from_variables(variables: &BTreeMap<String, String>) -> Result<Self, ConfigError> {
        let mut problems = Vec::new();
        let config = Self {
            server: read(variables, &mut problems),
            log: read(variables, &mut problems),
            postgres: read(variables, &mut problems),
            redis: read(variables, &mut problems),
            session: read(variables, &mut problems),
            rate_limit: read(variables, &mut problems),
            circuit_breaker: read(variables, &mut problems),
            replica: read(variables, &mut problems),
            agent: read(variables, &mut problems),
        };
        if problems.is_empty() {
            config.check_together(&mut problems);
        }
        if problems.is_empty() { Ok(config) } else { Err(ConfigError::new(problems)) }
    }

    /// Names of the variables whose values are secrets.
    #[must_use]
    pub fn secrets() -> Vec<&'static str> {
        [
            Server::SECRETS,
            Log::SECRETS,
            Postgres::SECRETS,
            Redis::SECRETS,
            Session::SECRETS,
            RateLimit::SECRETS,
            CircuitBreaker::SECRETS,
            Replica::SECRETS,
            Agent::SECRETS,
        ]
        .concat()
    }

    /// Rules that hold between sections.
    fn check_together(&self, problems: &mut Vec<Problem>) {
        if self.session.storage == Some(SessionStorage::Redis) && !self.redis.enabled() {
            problems.push(Problem::new("SESSION_STORAGE", "redis", "memory while Redis is off (REDIS_ENABLE, REDIS_URL)"));
        }
    }

    /// Every variable with its effective value, secrets masked; an unset optional one has the empty value.
    #[must_use]
    pub fn show(&self) -> Vec<(String, String)> {
        [
            self.server.show(),
            self.log.show(),
            self.postgres.show(),
            self.redis.show(),
            self.session.show(),
            self.rate_limit.show(),
            self.circuit_breaker.show(),
            self.replica.show(),
            self.agent.show(),
        ]
        .concat()
    }
}

#[cfg(test)]
mod tests;
