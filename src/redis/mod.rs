//! The only room that knows the redis crate: the pool, the keys, the scripts.
//!
//! Callers see named operations, whose one round trip and one deadline are this room's promise. Whether a [`link::Link`] is a
//! native connection or leads to Upstash's REST API is chosen once, by the settings; nothing above this room notices.

mod budget;
mod cache;
mod circuit;
mod clock;
mod guard;
mod key;
mod leases;
mod link;
mod native;
mod operations;
mod pool;
mod rate_limit;
mod script;
mod session_indexes;
mod trouble;
mod upstash;

use std::sync::Arc;
use std::time::Duration;

use redis::RedisResult;
use tokio::time::{Instant, timeout_at};
use tokio_util::task::TaskTracker;

use crate::config::{self, Endpoint, Protocol};
use crate::domain::StoreUnavailable;

pub use self::budget::{inherited, of_request};
pub use self::circuit::{CircuitValue, Listing, Swapped};
pub use self::key::Key;
pub use self::operations::SessionEntry;
pub use self::rate_limit::{KnownLogin, Limited, RateLimitScript};

use self::budget::Question;
use self::clock::{Clock, Known};
use self::guard::Guard;
use self::link::Link;
use self::pool::Pool;

/// The shared Redis. Cheap to clone; makes its first connection when it is first asked for something.
#[derive(Debug, Clone)]
pub struct Redis {
    pool: Pool,
    guard: Arc<Guard>,
    clock: Arc<Clock>,
    /// Readings of the clock, beside the requests that noticed that one is due.
    reading: TaskTracker,
    protocol: Protocol,
    command_timeout: Duration,
}

impl Redis {
    /// Prepares connections as `settings` say. Redis need not be there yet.
    ///
    /// # Errors
    /// If the endpoint makes no sense to the client.
    pub fn new(settings: &config::Redis) -> Result<Self, StoreUnavailable> {
        let pool = Pool::new(settings).map_err(|error| unavailable(&error))?;
        if let Some(Endpoint::Native { url, .. } | Endpoint::Rest { url, .. }) = settings.endpoint() {
            let (protocol, host) = (settings.protocol.as_str(), url.host());
            tracing::info!(protocol, host, encrypted = url.is_encrypted(), "Redis is on");
        }
        if settings.ignores_rest() {
            tracing::warn!(
                "REDIS_URL is used, and UPSTASH_REDIS_REST_URL with its token is not: that takes REDIS_PROTOCOL=rest (now native)"
            );
        }
        Ok(Self {
            pool,
            guard: Arc::new(Guard::new()),
            clock: Arc::default(),
            reading: TaskTracker::new(),
            protocol: settings.protocol,
            command_timeout: settings.command_timeout,
        })
    }

    /// By which protocol it is spoken to.
    #[must_use]
    pub const fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Asks Redis whether it is there, by asking for its time, which others then need not ask for.
    ///
    /// # Errors
    /// [`StoreUnavailable`] if it does not answer in time.
    pub async fn ping(&self) -> Result<Duration, StoreUnavailable> {
        let start = Instant::now();
        self.run(async |link| self.clock.read(link).await).await?;
        Ok(start.elapsed())
    }

    /// Redis' time, in microseconds since 1970; asked for only where it is not known.
    async fn time(&self, link: &mut Link) -> RedisResult<u64> {
        match self.clock.at(Instant::now()) {
            Known::Fresh(micros) => Ok(micros),
            Known::Aging(micros) => {
                let redis = self.clone();
                self.reading.spawn(async move {
                    if let Err(error) = redis.ping().await {
                        tracing::debug!(%error, "the clock of Redis was not read");
                    }
                });
                Ok(micros)
            }
            Known::Unknown => self.clock.read(link).await,
        }
    }

    /// What Redis does when its memory is full (`maxmemory-policy`); nothing where it does not say, as managed services do not.
    ///
    /// # Errors
    /// [`StoreUnavailable`] if it does not answer in time.
    pub async fn eviction_policy(&self) -> Result<Option<String>, StoreUnavailable> {
        let mut command = redis::cmd("CONFIG");
        command.arg("GET").arg("maxmemory-policy");
        self.run(async |link| match command.query_async::<Vec<String>>(link).await {
            Ok(pair) => Ok(pair.into_iter().nth(1)),
            Err(error) if error.is_io_error() => Err(error),
            Err(_) => Ok(None),
        })
        .await
    }

    /// Runs one operation on a connection, all of it within the command deadline and what its request may still wait; not at all while
    /// Redis is known not to answer.
    async fn run<T>(&self, operation: impl AsyncFnOnce(&mut Link) -> RedisResult<T>) -> Result<T, StoreUnavailable> {
        let permit =
            self.guard.admit(Instant::now()).ok_or_else(|| StoreUnavailable("it did not answer a moment ago".to_owned()))?;
        let result = self.attempt(operation).await;
        match &result {
            Err(Failure::Silence(_)) => {
                self.clock.forget();
                if permit.unanswered(Instant::now()) {
                    self.pool.discard_idle();
                }
            }
            Err(Failure::Impatience) => drop(permit),
            Ok(_) | Err(Failure::Reply(_)) => permit.answered(),
        }
        result.map_err(StoreUnavailable::from)
    }

    async fn attempt<T>(&self, operation: impl AsyncFnOnce(&mut Link) -> RedisResult<T>) -> Result<T, Failure> {
        let now = Instant::now();
        let question = Question::begin(now, self.command_timeout);
        let deadline = now + self.command_timeout;
        let enough = question.enough.filter(|enough| *enough < deadline);
        let until = enough.unwrap_or(deadline);
        let late = |_| match enough {
            Some(_) => Failure::Impatience,
            None => Failure::Silence(StoreUnavailable(format!("no answer within {} ms", self.command_timeout.as_millis()))),
        };
        if until <= now {
            return Err(Failure::Impatience);
        }
        let mut link = match self.pool.link() {
            Some(link) => link,
            None => {
                let link = timeout_at(until, self.pool.new_link()).await.map_err(late)?;
                // Who is let in nowhere has no answer, whatever was said at the door.
                link.map_err(|error| Failure::Silence(unavailable(&error)))?
            }
        };
        match timeout_at(until, operation(&mut link)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => {
                let failure = Failure::of(&error);
                if error.is_unrecoverable_error() || matches!(failure, Failure::Silence(_)) {
                    link.discard();
                }
                Err(failure)
            }
            Err(elapsed) => {
                let failure = late(elapsed);
                // A peer that vanished sends no reset: the connection may be dead though nothing says so.
                if matches!(failure, Failure::Silence(_)) {
                    link.discard();
                }
                Err(failure)
            }
        }
    }
}

/// Why a call got no answer that it can use.
#[derive(Debug)]
enum Failure {
    /// Redis did not answer.
    Silence(StoreUnavailable),
    /// Its request has waited long enough, for this and what it asked before. That says nothing of Redis.
    Impatience,
    /// It answered with an error.
    Reply(StoreUnavailable),
}

impl Failure {
    /// What keeps being refused on this connection, while another may lead to who takes it, is no answer either.
    fn of(error: &redis::RedisError) -> Self {
        if error.is_io_error() || error.is_timeout() || is_demotion(error) {
            Self::Silence(unavailable(error))
        } else {
            Self::Reply(unavailable(error))
        }
    }
}

impl From<Failure> for StoreUnavailable {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Silence(error) | Failure::Reply(error) => error,
            Failure::Impatience => Self("the request has waited long enough for it".to_owned()),
        }
    }
}

/// Whether a primary says that it is none any more: its name may have moved to another, to which a new connection leads.
fn is_demotion(error: &redis::RedisError) -> bool {
    const CODES: [&str; 2] = ["READONLY", "MASTERDOWN"];
    // Of a transaction or a pipeline, whichever command says so. Before Redis 7, a script's error has it in its text.
    error
        .clone()
        .into_server_errors()
        .iter()
        .flat_map(|errors| errors.iter())
        .any(|(_, error)| CODES.contains(&error.code()) || error.details().is_some_and(|details| details.contains("-READONLY ")))
}

/// What Upstash says, by either protocol, when a database is at a limit of its plan. These replies quote nothing.
const PLAN_LIMITS: [&str; 5] = [
    "max requests limit exceeded",
    "max daily request limit exceeded",
    "max concurrent connections exceeded",
    "max request size exceeded",
    "max key size exceeded",
];

/// Says what went wrong without what was sent: a detail of an error reply may quote it.
fn unavailable(error: &redis::RedisError) -> StoreUnavailable {
    let plan_limit = PLAN_LIMITS.into_iter().find(|limit| error.detail().is_some_and(|detail| detail.starts_with(limit)));
    StoreUnavailable(match (error.code(), plan_limit) {
        (Some(code), Some(limit)) => format!("error reply {code}: {limit}"),
        (Some(code), None) => format!("error reply {code}"),
        (None, _) if error.is_timeout() => "timed out".to_owned(),
        (None, _) => error.to_string(),
    })
}
