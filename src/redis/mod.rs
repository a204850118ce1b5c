//! The only room that knows the redis crate: the pool, the keys, the scripts.
//!
//! Callers see named operations, whose one round trip and one deadline are this room's promise. `REDIS_PROTOCOL=rest` will be
//! a second kind of [`link::Link`] beside the native one; nothing above this room will notice.

mod key;
mod link;
mod operations;
mod pool;
mod script;

use std::time::Duration;

use redis::RedisResult;
use tokio::time::{Instant, timeout_at};

use crate::config;
use crate::domain::StoreUnavailable;

pub use self::key::Key;
pub use self::operations::{Count, SessionEntry};

use self::link::Link;
use self::pool::Pool;

/// The shared Redis. Cheap to clone; makes its first connection when it is first asked for something.
#[derive(Debug, Clone)]
pub struct Redis {
    pool: Pool,
    command_timeout: Duration,
}

impl Redis {
    /// Prepares connections as `settings` say. Redis need not be there yet.
    ///
    /// # Errors
    /// If the endpoint makes no sense to the client.
    pub fn new(settings: &config::Redis) -> Result<Self, StoreUnavailable> {
        let pool = Pool::new(settings).map_err(|error| unavailable(&error))?;
        Ok(Self { pool, command_timeout: settings.command_timeout })
    }

    /// Asks Redis whether it is there.
    ///
    /// # Errors
    /// [`StoreUnavailable`] if it does not answer in time.
    pub async fn ping(&self) -> Result<Duration, StoreUnavailable> {
        let start = Instant::now();
        self.run(async |link| redis::cmd("PING").query_async::<()>(link).await).await?;
        Ok(start.elapsed())
    }

    /// Runs one operation on a connection, all of it within the command deadline.
    async fn run<T>(&self, operation: impl AsyncFnOnce(&mut Link) -> RedisResult<T>) -> Result<T, StoreUnavailable> {
        let deadline = Instant::now() + self.command_timeout;
        let late = |_| StoreUnavailable(format!("no answer within {} ms", self.command_timeout.as_millis()));
        let link = timeout_at(deadline, self.pool.link()).await.map_err(late)?;
        let mut link = link.map_err(|error| unavailable(&error))?;
        match timeout_at(deadline, operation(&mut link)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => {
                if error.is_unrecoverable_error() {
                    link.discard();
                }
                Err(unavailable(&error))
            }
            // A peer that vanished sends no reset: the connection may be dead though nothing says so.
            Err(elapsed) => {
                link.discard();
                Err(late(elapsed))
            }
        }
    }
}

/// Says what went wrong without what was sent: a detail of an error reply may quote it.
fn unavailable(error: &redis::RedisError) -> StoreUnavailable {
    StoreUnavailable(match error.code() {
        Some(code) => format!("error reply {code}"),
        None if error.is_timeout() => "timed out".to_owned(),
        None => error.to_string(),
    })
}
