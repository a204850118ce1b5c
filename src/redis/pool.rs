//! The pool: deadpool owns the life of the connections (making, checking, how many, how long to wait).
//!
//! A connection is multiplexed, so a caller does not keep it: it takes a clone and gives the connection back at once. One or
//! two connections then serve any number of callers, and no check-out waits for another caller's answer. deadpool-redis makes
//! the connections, but its check on reuse (`UNWATCH` and `PING`, one round trip a request) is replaced by a look at whether
//! the connection has failed before.

use std::fmt;
use std::time::Duration;

use deadpool::Runtime;
use deadpool::managed::{self, Metrics, QueueMode, RecycleError, RecycleResult};
use redis::io::tcp::TcpSettings;
use redis::{AsyncConnectionConfig, ConnectionInfo, ErrorKind, IntoConnectionInfo, RedisError, RedisResult};
use secrecy::ExposeSecret;
use tokio_util::task::TaskTracker;

use super::link::Link;
use crate::config;

/// How long the kernel retries to deliver what was written before it gives the connection up.
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Clone)]
pub(super) struct Pool {
    links: managed::Pool<Manager>,
    /// Connections being made: that goes on although the request that wanted one has given up.
    connecting: TaskTracker,
}

struct Manager(deadpool_redis::Manager);

impl managed::Manager for Manager {
    type Type = Link;
    type Error = RedisError;

    async fn create(&self) -> Result<Link, RedisError> {
        let connection = self.0.create().await.inspect_err(|error| {
            tracing::warn!(error = %super::unavailable(error), "no connection to Redis");
        })?;
        tracing::info!("connected to Redis");
        Ok(Link::new(connection))
    }

    async fn recycle(&self, link: &mut Link, _: &Metrics) -> RecycleResult<RedisError> {
        if link.is_broken() { Err(RecycleError::message("the connection failed")) } else { Ok(()) }
    }
}

impl Pool {
    pub(super) fn new(settings: &config::Redis) -> RedisResult<Self> {
        let connection_config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(settings.connection_timeout))
            // The deadline of a command is the caller's, around everything.
            .set_response_timeout(None);
        let manager = deadpool_redis::Manager::new_with_config(connection_info(settings)?, connection_config)?;
        let links = managed::Pool::builder(Manager(manager))
            .max_size(settings.max_pool_size)
            .queue_mode(QueueMode::Lifo)
            .runtime(Runtime::Tokio1)
            .create_timeout(Some(settings.connection_timeout))
            .wait_timeout(Some(settings.connection_timeout))
            .build()
            .map_err(|error| invalid("the pool cannot be made", error.to_string()))?;
        Ok(Self { links, connecting: TaskTracker::new() })
    }

    /// A handle on a connection that is not known to be broken.
    pub(super) async fn link(&self) -> RedisResult<Link> {
        if self.links.status().available > 0 {
            return Ok(self.links.get().await.map_err(pool_error)?.clone());
        }
        let links = self.links.clone();
        let made = self.connecting.spawn(async move { links.get().await.map(|link| link.clone()) });
        made.await.map_err(|error| invalid("connecting was cut short", error.to_string()))?.map_err(pool_error)
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("status", &self.links.status()).finish_non_exhaustive()
    }
}

fn connection_info(settings: &config::Redis) -> RedisResult<ConnectionInfo> {
    let url = settings.native_url().ok_or_else(|| invalid("no endpoint", "REDIS_URL is not set".to_owned()))?;
    let info = url.expose().as_str().into_connection_info()?;
    let mut redis = info.redis_settings().clone();
    if let (None, Some(password)) = (redis.password(), &settings.password) {
        redis = redis.set_password(password.expose_secret());
    }
    // Without NODELAY the second of two small writes waits for the first one's acknowledgement: twice the latency.
    let tcp = TcpSettings::default().set_nodelay(true);
    #[cfg(target_os = "linux")]
    let tcp = tcp.set_user_timeout(TCP_USER_TIMEOUT);
    Ok(info.set_redis_settings(redis).set_tcp_settings(tcp))
}

fn pool_error(error: managed::PoolError<RedisError>) -> RedisError {
    match error {
        managed::PoolError::Backend(error) => error,
        other => invalid("no connection", other.to_string()),
    }
}

fn invalid(what: &'static str, detail: String) -> RedisError {
    RedisError::from((ErrorKind::Io, what, detail))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn info(pairs: &[(&str, &str)]) -> ConnectionInfo {
        let variables: BTreeMap<_, _> = pairs.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        connection_info(&config::Config::from_variables(&variables).expect("valid").redis).expect("an endpoint")
    }

    #[test]
    fn small_writes_are_not_held_back() {
        assert!(info(&[("REDIS_URL", "redis://h")]).tcp_settings().nodelay());
    }

    #[test]
    fn the_password_of_the_url_goes_before_the_other() {
        let password =
            |url| info(&[("REDIS_URL", url), ("REDIS_PASSWORD", "other")]).redis_settings().password().map(str::to_owned);
        assert_eq!(password("redis://:own@h"), Some("own".to_owned()));
        assert_eq!(password("redis://h"), Some("other".to_owned()));
    }
}
