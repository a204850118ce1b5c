//! `agentapi serve`: from settings to a running server, and back to nothing.

mod announcements;
mod first_operator;
mod housekeeping;
mod replica;

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;

use self::announcements::Follower;
use self::first_operator::FirstOperator;
use self::replica::Heartbeats;
use super::open::{self, Opened};
use super::{Failure, identity, operator};
use crate::agent::{Supervisor, SupervisorParts};
use crate::api_key::ApiKeys;
use crate::cache::{Cache, CacheStore, Directory, RedisCacheStore};
use crate::circuit_breaker::{CircuitBreakers, CircuitStore, MemoryCircuitStore, RedisCircuitStore};
use crate::config::{self, Config, Protocol, SessionStorage};
use crate::data_dir::{self, DataDirLock};
use crate::domain::{AllowedAddress, KeyRing, PasswordRules, ReplicaId, SigningKey};
use crate::http::{self, App, ConnectionLimits, Connections, Parts};
use crate::lifecycle::Lifecycle;
use crate::open_files;
use crate::outbound::{AddressPolicy, GuardedResolver, Outbound, ReplicaResolver, Resolvers, SystemResolver};
use crate::rate_limit::{MemoryRateLimitStore, RateLimitStore, RateLimiter, RedisRateLimitStore, TenantLimitsCache};
use crate::redis::Redis;
use crate::replica::{Replicas, ReplicasParts};
use crate::session::{MemorySessionStore, RedisSessionStore, SessionStore, Sessions};
use crate::telemetry::{self, LogGuard, Metrics};

/// Serves until SIGINT or SIGTERM.
pub(super) async fn run(settings: Config) -> Result<(), Failure> {
    let log = telemetry::log(&settings.log);
    open_files::raise();
    let lifecycle = Lifecycle::default();
    lifecycle.watch_signals()?;
    let address = settings.server.address();
    let listener = TcpListener::bind(address).await.map_err(|error| format!("cannot listen on {address}: {error}"))?;
    data_dir::create(&settings.server.data_dir)?;
    let _lock = DataDirLock::take(&settings.server.data_dir)?;
    let basis = Basis::of(&settings, &log)?;
    let opened = open::database(&settings).await?;
    let served = serve(&settings, basis, &opened, &lifecycle, listener).await;
    let closed = opened.close().await;
    served?;
    Ok(closed?)
}

/// What can be found wrong with the settings only by making use of them. It is made before the database is touched: an operator whose
/// password nobody was told must not be in it.
struct Basis {
    metrics: Metrics,
    keys: KeyRing,
    replica: ReplicaId,
    redis: Option<Redis>,
}

impl Basis {
    fn of(settings: &Config, log: &LogGuard) -> Result<Self, Failure> {
        Ok(Self {
            // Before all that counts.
            metrics: telemetry::metrics(log)?,
            keys: identity::key_ring(&settings.session, &settings.server.data_dir)?,
            replica: identity::replica(&settings.server.data_dir)?,
            redis: settings.redis.enabled().then(|| Redis::new(&settings.redis)).transpose()?,
        })
    }
}

async fn serve(
    settings: &Config,
    basis: Basis,
    opened: &Opened,
    lifecycle: &Lifecycle,
    listener: TcpListener,
) -> Result<(), Failure> {
    let address = listener.local_addr()?;
    let rules = PasswordRules::new(settings.server.password_min_length);
    let first_operator = first_operator::make(&opened.database, settings.server.admin_password.as_ref(), rules).await?;
    let app = app(settings, basis, opened, lifecycle, address);
    let lost = app.replicas.join().await?;
    if lost > 0 {
        tracing::warn!(agents = lost, "agents were lost when this server last ended");
    }
    let heartbeats = Heartbeats::begin(&app);
    housekeeping::begin(&app, settings.session.cleanup_interval);
    housekeeping::meet_redis(&app);
    let follower = Follower {
        database: opened.database.clone(),
        sessions: app.sessions.clone(),
        api_keys: app.api_keys.clone(),
        directory: app.directory.clone(),
        replicas: app.replicas.clone(),
    };
    let announcements =
        follower.begin().await.map_err(|error| format!("cannot find out whose sessions are over, nor hear of it: {error}"))?;
    lifecycle.tasks().spawn(announcements::follow(follower, announcements, lifecycle.stopping()));
    announce(address, first_operator.as_ref());
    stop_in_order(app, listener, heartbeats, settings.server.shutdown_timeout).await
}

/// Puts the server together, top to bottom.
fn app(settings: &Config, basis: Basis, opened: &Opened, lifecycle: &Lifecycle, address: SocketAddr) -> App {
    let Basis { metrics, keys, replica, redis } = basis;
    let algorithm = settings.rate_limit.algorithm;
    let rate_limits: Arc<dyn RateLimitStore> = match &redis {
        Some(redis) => Arc::new(RedisRateLimitStore::new(redis.clone(), algorithm)),
        None => Arc::new(MemoryRateLimitStore::new(algorithm)),
    };
    let tenant_limits = TenantLimitsCache::new(Arc::new(opened.database.clone()), lifecycle.tasks().clone());
    let sessions: Arc<dyn SessionStore> = match &redis {
        Some(redis) if settings.session.storage != Some(SessionStorage::Memory) => {
            Arc::new(RedisSessionStore::new(redis.clone()))
        }
        _ => Arc::new(MemorySessionStore::default()),
    };
    let shared_cache = redis.clone().map(|redis| Arc::new(RedisCacheStore::new(redis, keys.clone())) as Arc<dyn CacheStore>);
    let cache = Cache::new(shared_cache, lifecycle.tasks().clone(), lifecycle.stopping());
    if redis.is_none() {
        tracing::info!(
            "Redis is off: sessions and rate limits end with this process, circuits and what is cached are its own, and it can know of \
             no other server (docs/REPLICAS.md)"
        );
    }
    let url = replica::url(&settings.replica, address);
    let resolvers = resolvers(settings, replica::allowed_addresses(&settings.replica, &url));
    let breakers = breakers(&settings.circuit_breaker, redis.as_ref(), &keys, lifecycle);
    let outbound = Outbound::new(breakers.clone(), resolvers);
    let replicas = Replicas::new(ReplicasParts {
        id: replica,
        url,
        database: opened.database.clone(),
        redis: redis.clone(),
        outbound: outbound.clone(),
        heartbeat: settings.replica.heartbeat,
        timeout: settings.replica.timeout(),
        keys: keys.clone(),
        signing_key: SigningKey::generate(),
    });
    let agents = Supervisor::new(SupervisorParts {
        settings: settings.agent.clone(),
        data_dir: settings.server.data_dir.clone(),
        database: opened.database.clone(),
        cache: cache.clone(),
        keys: keys.clone(),
        replica: replicas.id(),
        tasks: lifecycle.tasks().clone(),
        outbound: outbound.clone(),
        stopping: lifecycle.stopping(),
    });
    App::new(Parts {
        settings: settings.server.clone(),
        database: opened.database.clone(),
        directory: Directory::new(opened.database.clone(), cache.clone()),
        redis,
        sessions: Sessions::new(sessions, keys, &settings.session),
        api_keys: ApiKeys::new(opened.database.clone(), cache, lifecycle.tasks().clone()),
        limiter: RateLimiter::new(rate_limits, tenant_limits, &settings.rate_limit),
        agents,
        replicas,
        outbound,
        breakers,
        connections: connections(settings),
        lifecycle: lifecycle.clone(),
        metrics,
    })
}

/// How names become addresses: those that users chose become none within the deployment, unless its operator says so, and those of
/// other servers none but `of_replicas`.
fn resolvers(settings: &Config, of_replicas: Vec<AllowedAddress>) -> Resolvers {
    let policy = AddressPolicy::new(settings.agent.remote_allowed_networks.clone());
    Resolvers {
        named_by_users: Arc::new(GuardedResolver::new(SystemResolver, policy)),
        replicas: Arc::new(ReplicaResolver::new(SystemResolver, of_replicas)),
    }
}

/// The connections of clients: as many as are allowed, and as the limit of open files leaves room for.
fn connections(settings: &Config) -> Connections {
    /// A terminal, or pipes, and what its program is known by.
    const FILES_PER_AGENT: usize = 4;
    let stores =
        usize::try_from(settings.postgres.max_connections).unwrap_or(usize::MAX).saturating_add(settings.redis.max_pool_size);
    let others = stores.saturating_add(settings.agent.max_running.saturating_mul(FILES_PER_AGENT));
    let server = &settings.server;
    let room = open_files::room_for_connections(others);
    let limits = ConnectionLimits::new(server.max_connections, server.max_connections_per_address, room);
    Connections::new(limits, server.trusted_proxies.clone())
}

/// Circuit breakers, shared by Redis if it is on. What others learn is asked for less often where each question is billed.
fn breakers(
    settings: &config::CircuitBreaker,
    redis: Option<&Redis>,
    keys: &KeyRing,
    lifecycle: &Lifecycle,
) -> Option<CircuitBreakers> {
    let store: Arc<dyn CircuitStore> = match redis {
        Some(redis) => Arc::new(RedisCircuitStore::new(redis.clone(), keys.clone())),
        None => Arc::new(MemoryCircuitStore::default()),
    };
    let peek_interval = redis.map(|redis| match redis.protocol() {
        Protocol::Native => Duration::from_secs(1),
        Protocol::Rest => Duration::from_secs(5),
    });
    CircuitBreakers::new(store, settings, peek_interval, lifecycle.tasks().clone())
}

/// Serves, and when told to stop: takes no more requests, stops the agents, waits for what is in flight.
async fn stop_in_order(app: App, listener: TcpListener, heartbeats: Heartbeats, timeout: Duration) -> Result<(), Failure> {
    let (lifecycle, agents, replicas) = (app.lifecycle.clone(), app.agents.clone(), app.replicas.clone());
    let stopping = lifecycle.stopping();
    let serving = lifecycle.tasks().spawn(http::serve(listener, app));
    stopping.cancelled().await;
    let deadline = tokio::time::Instant::now() + timeout;
    let ended = tokio::time::timeout_at(deadline, async { tokio::join!(serving, agents.drain()).0 }).await;
    let drained = lifecycle.drain(deadline.saturating_duration_since(tokio::time::Instant::now())).await;
    heartbeats.end().await;
    if let Err(error) = replicas.leave().await {
        tracing::warn!(%error, "the other servers were not told that this one stops");
    }
    match ended {
        Ok(served) => served?,
        Err(_) => tracing::warn!(seconds = timeout.as_secs(), "requests were cut off: they did not end in time"),
    }
    if drained {
        tracing::info!("stopped");
    } else {
        tracing::warn!("stopped with tasks cut off");
    }
    Ok(())
}

/// Says on standard output that the server is ready, and, once, how to log in.
fn announce(address: SocketAddr, first_operator: Option<&FirstOperator>) {
    let host = if address.ip().is_unspecified() { "localhost".to_owned() } else { address.ip().to_string() };
    let host = if host.contains(':') { format!("[{host}]") } else { host };
    let url = format!("http://{host}:{}", address.port());
    tracing::info!(%address, "ready");
    let mut said = format!("agentapi is ready at {url} (API: {url}/docs)");
    if let Some(operator) = first_operator {
        said.push('\n');
        said.push_str(&operator.how_to_log_in(&url));
    }
    // Nobody may be reading: that is no reason not to serve.
    if let Err(error) = writeln!(std::io::stdout(), "{said}") {
        tracing::warn!(%error, "cannot write to standard output");
    }
}
