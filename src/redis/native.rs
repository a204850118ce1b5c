//! The Redis protocol over TCP or TLS: one multiplexed connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use deadpool::managed::Manager as _;
use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::io::tcp::TcpSettings;
use redis::{AsyncConnectionConfig, Cmd, ConnectionInfo, IntoConnectionInfo, Pipeline, RedisFuture, RedisResult, Value};
use secrecy::{ExposeSecret, SecretString};

use crate::config::SecretUrl;

/// How long the kernel retries to deliver what was written before it gives the connection up.
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(5);

/// Commands that wait to be written at most; who comes then waits for one of them, which costs two tasks a turn more.
const COMMANDS_WAITING: usize = 1024;

/// Makes native connections to one place.
pub(super) struct NativeConnector(deadpool_redis::Manager);

impl NativeConnector {
    pub(super) fn new(url: &SecretUrl, password: Option<&SecretString>, connection_timeout: Duration) -> RedisResult<Self> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(connection_timeout))
            .set_pipeline_buffer_size(COMMANDS_WAITING)
            // The deadline of a command is the caller's, around everything.
            .set_response_timeout(None);
        let info = connection_info(url, password)?;
        Ok(Self(deadpool_redis::Manager::new_with_config(info, config)?))
    }

    pub(super) async fn connect(&self) -> RedisResult<NativeLink> {
        let connection = self.0.create().await?;
        tracing::info!("connected to Redis");
        Ok(NativeLink { connection, broken: Arc::default() })
    }
}

/// A handle on a connection. Clones share the connection, and what is known of its health.
#[derive(Clone)]
pub(super) struct NativeLink {
    connection: MultiplexedConnection,
    broken: Arc<AtomicBool>,
}

impl NativeLink {
    pub(super) fn discard(&self) {
        self.broken.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Relaxed)
    }
}

impl ConnectionLike for NativeLink {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        self.connection.req_packed_command(cmd)
    }

    fn req_packed_commands<'a>(&'a mut self, cmd: &'a Pipeline, offset: usize, count: usize) -> RedisFuture<'a, Vec<Value>> {
        self.connection.req_packed_commands(cmd, offset, count)
    }

    fn get_db(&self) -> i64 {
        self.connection.get_db()
    }
}

fn connection_info(url: &SecretUrl, password: Option<&SecretString>) -> RedisResult<ConnectionInfo> {
    let info = url.expose().as_str().into_connection_info()?;
    let mut redis = info.redis_settings().clone();
    if let (None, Some(password)) = (redis.password(), password) {
        redis = redis.set_password(password.expose_secret());
    }
    // Without NODELAY the second of two small writes waits for the first one's acknowledgement: twice the latency.
    let tcp = TcpSettings::default().set_nodelay(true);
    #[cfg(target_os = "linux")]
    let tcp = tcp.set_user_timeout(TCP_USER_TIMEOUT);
    Ok(info.set_redis_settings(redis).set_tcp_settings(tcp))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::config::{Config, Endpoint};

    fn info(pairs: &[(&str, &str)]) -> ConnectionInfo {
        let variables: BTreeMap<_, _> = pairs.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        let settings = Config::from_variables(&variables).expect("valid").redis;
        match settings.endpoint() {
            Some(Endpoint::Native { url, password }) => connection_info(url, password).expect("an endpoint"),
            _ => panic!("native"),
        }
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
