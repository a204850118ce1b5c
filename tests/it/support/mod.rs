//! What the tests stand on.

mod client;
mod database;
mod events;
mod proxy;
mod redis;
mod server;
mod single;
mod upstash;

use std::future::Future;
use std::time::Duration;

pub(crate) use self::client::{Answer, Client, operators_login};
pub(crate) use self::database::{TestDatabase, TestPostgres};
pub(crate) use self::events::{Event, EventStream};
pub(crate) use self::proxy::{Network, Proxy};
pub(crate) use self::redis::{TestRedis, free_port};
pub(crate) use self::server::{PASSWORD, Server, ServerBuilder};
pub(crate) use self::single::{ECHO, Single, SingleBuilder};
pub(crate) use self::upstash::{Fault, Upstash};

/// Longest that anything is waited for; what comes in time is never waited for longer than it takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until `condition` gives something, asking again at short intervals: for states that nothing announces.
pub(crate) async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, mut condition: impl FnMut() -> F) -> T {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        if let Some(value) = condition().await {
            return value;
        }
        assert!(tokio::time::Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
