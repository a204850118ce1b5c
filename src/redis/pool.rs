//! The pool: deadpool owns the life of the links (making, checking, how many, how long to wait).
//!
//! A link is shared, so a caller does not keep it: all take clones of the one in use, until it is known to be broken. One native
//! connection then serves any number of callers, and none waits for another caller's answer. deadpool-redis makes
//! the connections, but its check on reuse (`UNWATCH` and `PING`, one round trip a request) is replaced by a look at whether
//! the connection has failed before. Over REST all links lead to one client, which batches what is waiting and holds the HTTP
//! connections; the pool's size bounds those.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use deadpool::Runtime;
use deadpool::managed::{self, Metrics, QueueMode, RecycleError, RecycleResult};
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use redis::{ErrorKind, RedisError, RedisResult};
use tokio::task::AbortHandle;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::link::{Link, Wire};
use super::native::NativeConnector;
use super::script::Dialect;
use super::trouble::{News, Trouble};
use super::upstash::RestLink;
use crate::config::{self, Endpoint};

#[derive(Clone)]
pub(super) struct Pool {
    links: managed::Pool<Manager>,
    /// The link in use: who shares one finds what others ask already on its way, and asks no lock but this one.
    current: Arc<RwLock<Option<Link>>>,
    /// Connections being made: that goes on although the request that wanted one has given up.
    connecting: TaskTracker,
    /// They, the oldest first.
    attempts: Arc<Mutex<Vec<Attempt>>>,
    /// How long those who come wait for the newest before they have another one made beside it. Connecting may have begun while the
    /// network swallowed everything; one that begins afterwards does not wait for that to be noticed.
    patience: Duration,
    trouble: Arc<Trouble>,
}

/// A connection in the making, for all who wait for one.
struct Attempt {
    began: Instant,
    task: AbortHandle,
    link: Shared<BoxFuture<'static, RedisResult<Link>>>,
}

struct Manager {
    source: Source,
    dialect: Dialect,
}

/// Where links come from.
enum Source {
    Native(Box<NativeConnector>),
    Rest(RestLink),
}

impl managed::Manager for Manager {
    type Type = Link;
    type Error = RedisError;

    async fn create(&self) -> Result<Link, RedisError> {
        let wire = match &self.source {
            Source::Native(connector) => Wire::Native(connector.connect().await?),
            Source::Rest(link) => Wire::Rest(link.clone()),
        };
        Ok(Link::new(wire, self.dialect))
    }

    async fn recycle(&self, link: &mut Link, _: &Metrics) -> RecycleResult<RedisError> {
        if link.is_broken() { Err(RecycleError::message("the connection failed")) } else { Ok(()) }
    }
}

impl Pool {
    pub(super) fn new(settings: &config::Redis) -> RedisResult<Self> {
        let source = match settings.endpoint().ok_or_else(|| invalid("no endpoint", "Redis is off".to_owned()))? {
            Endpoint::Native { url, password } => {
                Source::Native(Box::new(NativeConnector::new(url, password, settings.connection_timeout)?))
            }
            Endpoint::Rest { url, token } => Source::Rest(RestLink::new(url, token, settings)?),
        };
        let links = managed::Pool::builder(Manager { source, dialect: Dialect::of(settings) })
            .max_size(settings.max_pool_size)
            .queue_mode(QueueMode::Lifo)
            .runtime(Runtime::Tokio1)
            .create_timeout(Some(settings.connection_timeout))
            .wait_timeout(Some(settings.connection_timeout))
            .build()
            .map_err(|error| invalid("the pool cannot be made", error.to_string()))?;
        Ok(Self {
            links,
            current: Arc::default(),
            connecting: TaskTracker::new(),
            attempts: Arc::default(),
            patience: settings.command_timeout,
            trouble: Arc::default(),
        })
    }

    /// A handle on the link in use, if there is one that is not known to be broken.
    pub(super) fn link(&self) -> Option<Link> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        current.as_ref().filter(|link| !link.is_broken()).cloned()
    }

    /// Lets go of all connections that nobody uses: while Redis is silent, each would have to be tried to see that it is dead too.
    pub(super) fn discard_idle(&self) {
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = None;
        self.links.retain(|_, _| false);
        match &self.links.manager().source {
            Source::Native(_) => {}
            Source::Rest(link) => link.discard_idle(),
        }
    }

    /// The link to use from now on, which may have to be made: the newest in the making, or another where that is over, or takes long.
    pub(super) fn new_link(&self) -> Shared<BoxFuture<'static, RedisResult<Link>>> {
        let mut attempts = self.attempts.lock().unwrap_or_else(PoisonError::into_inner);
        attempts.retain(|attempt| !attempt.task.is_finished());
        // Where the pool has no room for one more, the newest makes it; the oldest may be one of those that just take long.
        let room = self.links.status().max_size.saturating_sub(attempts.len());
        match attempts.last() {
            Some(newest) if newest.began.elapsed() < self.patience || (room == 0 && attempts.len() == 1) => {
                return newest.link.clone();
            }
            Some(newest) if room == 0 => {
                newest.task.abort();
                attempts.pop();
            }
            _ => {}
        }
        let pool = self.clone();
        let made = self.connecting.spawn(async move { pool.make_link().await });
        let (began, task) = (Instant::now(), made.abort_handle());
        let link = async move { made.await.map_err(|error| invalid("connecting was cut short", error.to_string()))? };
        let link = link.boxed().shared();
        attempts.push(Attempt { began, task, link: link.clone() });
        link
    }

    /// Makes the link that is the one in use from then on.
    async fn make_link(&self) -> RedisResult<Link> {
        let link = self.links.get().await.map(|link| link.clone()).map_err(pool_error);
        match self.trouble.news(link.as_ref().err().map(|error| super::unavailable(error).to_string())) {
            Some(News::Wrong(error)) => tracing::warn!(%error, "no connection to Redis"),
            // The connection was told of when it was made.
            Some(News::Over) | None => {}
        }
        if let Ok(link) = &link {
            *self.current.write().unwrap_or_else(PoisonError::into_inner) = Some(link.clone());
        }
        link
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("status", &self.links.status()).finish_non_exhaustive()
    }
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
