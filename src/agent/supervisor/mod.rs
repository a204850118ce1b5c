//! The agents of this server: starting, finding, stopping them, and what is written of it.

mod approvals;
mod delivery;
mod error;
mod inbox;
mod incarnation;
mod ownership;
mod registration;
mod saying;
mod sealed_env;
mod settled;
mod start;
mod stored_history;
mod timeline;

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::delivery::Delivery;
pub use self::error::AgentError;
use self::inbox::Inbox;
use self::incarnation::Incarnation;
use self::ownership::Owners;
pub use self::ownership::Whereabouts;
use self::registration::Registration;
pub use self::saying::Waiting;
pub use self::sealed_env::reseal as reseal_env;
pub use self::timeline::TimelineWatch;
use super::live::LiveAgent;
use super::uploads;
use super::workspace::Workspace;
use crate::cache::Cache;
use crate::config;
use crate::domain::{
    Agent, AgentId, AgentState, Fence, KeyRing, Message, MessagePage, Principal, ReplicaId, TenantId, TenantScope,
};
use crate::outbound::Outbound;
use crate::postgres::{Action, AuditEntry, Database};

/// How long an agent that is asked to end may take before it is killed.
const STOP_GRACE: Duration = Duration::from_secs(5);

/// How long whoever stops an agent waits until that is written.
const WRITE_PATIENCE: Duration = Duration::from_secs(5);

/// The agents of this server. Cheap to clone.
#[derive(Clone)]
pub struct Supervisor(Arc<Inner>);

struct Inner {
    settings: config::Agent,
    data_dir: PathBuf,
    database: Database,
    cache: Cache,
    keys: KeyRing,
    /// Names this server in Postgres, over restarts.
    replica: ReplicaId,
    tasks: TaskTracker,
    /// What remote agents are called by.
    outbound: Outbound,
    stopping: CancellationToken,
    /// One for each agent that may live.
    places: Arc<Semaphore>,
    live: Mutex<HashMap<AgentId, Place>>,
    owners: Owners,
    registration: Registration,
}

/// A live agent in its place.
struct Place {
    tenant: TenantId,
    life: Fence,
    agent: LiveAgent,
    /// Done once this life is known to be over by what Postgres says: the agent runs elsewhere by now, or was found lost.
    over: CancellationToken,
    /// What is asked of it.
    inbox: Arc<Inbox>,
    /// Done once the agent has ended and that is written; then its place is free.
    left: CancellationToken,
    _permit: OwnedSemaphorePermit,
}

/// An agent that has just begun a life.
struct Living {
    live: LiveAgent,
    life: Fence,
    over: CancellationToken,
    inbox: Arc<Inbox>,
}

/// What the supervisor is made of.
pub struct SupervisorParts {
    /// What agents may be.
    pub settings: config::Agent,
    /// Where workspaces are kept.
    pub data_dir: PathBuf,
    /// Where agents and messages are written.
    pub database: Database,
    /// Where conversations that are over are cached.
    pub cache: Cache,
    /// What seals their secrets.
    pub keys: KeyRing,
    /// Names this server, over restarts.
    pub replica: ReplicaId,
    /// Where tasks are spawned.
    pub tasks: TaskTracker,
    /// What remote agents are called by.
    pub outbound: Outbound,
    /// Done once no more agents are to be started.
    pub stopping: CancellationToken,
}

impl Supervisor {
    /// Supervises agents, of which none lives yet.
    #[must_use]
    pub fn new(parts: SupervisorParts) -> Self {
        let SupervisorParts { settings, data_dir, database, cache, keys, replica, tasks, outbound, stopping } = parts;
        let places = Arc::new(Semaphore::new(settings.max_running));
        Self(Arc::new(Inner {
            settings,
            data_dir,
            database,
            cache,
            keys,
            replica,
            tasks,
            outbound,
            stopping,
            places,
            live: Mutex::default(),
            owners: Owners::new(),
            registration: Registration::default(),
        }))
    }

    /// Whether users may start any program.
    #[must_use]
    pub fn allows_custom_commands(&self) -> bool {
        self.0.settings.allow_custom_commands
    }

    /// Stops an agent with all that it started; lets a remote one go. A lost agent does not run on if its server comes back.
    ///
    /// # Errors
    /// [`AgentError`].
    pub async fn stop(&self, principal: &Principal, id: AgentId) -> Result<Agent, AgentError> {
        let agent = self.end(principal, id).await?;
        if agent.state != AgentState::Lost {
            return Ok(agent);
        }
        self.0.database.agents(principal.scope).stop_lost(id, principal.user).await?;
        // Its server may have come back in between.
        match self.get(principal, id).await? {
            agent if agent.state == AgentState::Running => Err(AgentError::Elsewhere),
            agent => Ok(agent),
        }
    }

    /// Stops an agent that runs here. Returns it; it runs nowhere.
    async fn end(&self, principal: &Principal, id: AgentId) -> Result<Agent, AgentError> {
        if let Some((live, left)) = self.place(principal.tenant(), id) {
            live.stop(STOP_GRACE).await;
            // Where Postgres is away, asking it below says so.
            let _ = tokio::time::timeout(WRITE_PATIENCE, left.cancelled()).await;
            self.0.database.record(principal.scope, &AuditEntry::by(principal.user, Action::AgentStop, id.to_string())).await?;
        }
        let agent = self.get(principal, id).await?;
        if agent.state == AgentState::Running { Err(AgentError::Elsewhere) } else { Ok(agent) }
    }

    /// What is known of an agent.
    ///
    /// # Errors
    /// [`AgentError`].
    pub async fn get(&self, principal: &Principal, id: AgentId) -> Result<Agent, AgentError> {
        let found = self.0.database.agents(principal.scope).get(id).await?;
        found.map(|found| found.agent).ok_or(AgentError::NotFound)
    }

    /// At most `limit` agents of the caller's tenant, newest first, that are older than `after`.
    ///
    /// # Errors
    /// If Postgres fails.
    pub async fn list(&self, principal: &Principal, after: Option<AgentId>, limit: u16) -> Result<Vec<Agent>, AgentError> {
        Ok(self.0.database.agents(principal.scope).list(after, limit).await?)
    }

    /// A live agent.
    ///
    /// # Errors
    /// [`AgentError`]: also whether it is not live, or not here.
    pub async fn live(&self, principal: &Principal, id: AgentId) -> Result<LiveAgent, AgentError> {
        if let Some(live) = self.find(principal.tenant(), id) {
            return Ok(live);
        }
        // Boxed: room for a query would else be moved about in memory by every request that needs none.
        match Box::pin(self.get(principal, id)).await?.state {
            AgentState::Running => Err(AgentError::Elsewhere),
            AgentState::Stopped | AgentState::Exited | AgentState::Lost => Err(AgentError::NotRunning),
        }
    }

    /// An agent's conversation, as it is now or as it was written.
    ///
    /// # Errors
    /// [`AgentError`].
    pub async fn messages(&self, principal: &Principal, id: AgentId) -> Result<Arc<Vec<Message>>, AgentError> {
        if let Some(live) = self.find(principal.tenant(), id) {
            return Ok(live.messages());
        }
        Ok(Arc::new(self.written(principal, id, None).await?.to_vec()))
    }

    /// The same, of a page of it.
    ///
    /// # Errors
    /// [`AgentError`].
    pub async fn message_page(&self, principal: &Principal, id: AgentId, page: MessagePage) -> Result<Vec<Message>, AgentError> {
        if let Some(live) = self.find(principal.tenant(), id) {
            return Ok(page.of(&live.messages()).to_vec());
        }
        Ok(self.written(principal, id, Some(page)).await?.to_vec())
    }

    async fn written(&self, principal: &Principal, id: AgentId, page: Option<MessagePage>) -> Result<Arc<[Message]>, AgentError> {
        let agent = self.get(principal, id).await?;
        Ok(settled::conversation(&self.0.cache, &self.0.database, principal.scope, &agent, page).await?)
    }

    /// Puts a file where a live agent can read it. Returns its path there.
    ///
    /// # Errors
    /// [`AgentError`].
    pub async fn upload(&self, principal: &Principal, id: AgentId, name: &str, content: Vec<u8>) -> Result<String, AgentError> {
        if let Some(remote) = self.live(principal, id).await?.remote() {
            return Ok(remote.upload(uploads::base_name(name), &content).await?);
        }
        let workspace = Workspace::of(&self.0.data_dir, principal.tenant(), id)?;
        Ok(workspace.uploads().keep(name, content).await?.display().to_string())
    }

    /// Stops every agent, all at the same time.
    pub async fn drain(&self) {
        let agents: Vec<LiveAgent> = self.lock().values().map(|place| place.agent.clone()).collect();
        if !agents.is_empty() {
            tracing::info!(agents = agents.len(), "stopping agents");
        }
        futures_util::future::join_all(agents.iter().map(|agent| agent.stop(STOP_GRACE))).await;
    }

    /// The live agent of this tenant; another tenant's is not found, nor one that may belong to another server by now.
    fn find(&self, tenant: TenantId, id: AgentId) -> Option<LiveAgent> {
        self.place(tenant, id).map(|(agent, _)| agent)
    }

    fn place(&self, tenant: TenantId, id: AgentId) -> Option<(LiveAgent, CancellationToken)> {
        if !self.0.registration.is_registered() {
            return None;
        }
        let places = self.lock();
        let place = places.get(&id).filter(|place| place.tenant == tenant && !place.over.is_cancelled())?;
        Some((place.agent.clone(), place.left.clone()))
    }

    /// Gives an agent its place until it ends, and writes that it has.
    fn supervise(&self, scope: TenantScope, id: AgentId, living: Living, permit: OwnedSemaphorePermit) {
        let Living { live: agent, life, over, inbox } = living;
        let (supervisor, incarnation) = (self.clone(), self.incarnation(scope, id, life, &over));
        let left = CancellationToken::new();
        let place = Place {
            tenant: scope.tenant(),
            life,
            agent: agent.clone(),
            over: over.clone(),
            inbox: Arc::clone(&inbox),
            left: left.clone(),
            _permit: permit,
        };
        self.lock().insert(id, place);
        let delivery = Delivery { supervisor: self.clone(), scope, id, life, live: agent.clone(), inbox };
        self.0.tasks.spawn(left.clone().run_until_cancelled_owned(delivery.run()));
        metrics::gauge!("agentapi_agents_running").increment(1);
        tracing::info!(tenant.id = %scope.tenant(), agent.id = %id, "agent started");
        self.0.tasks.spawn(async move {
            let ended = tokio::select! {
                ended = agent.wait_ended() => ended,
                () = over.cancelled() => {
                    tracing::warn!(tenant.id = %scope.tenant(), agent.id = %id, "the agent is no longer this server's: killing it");
                    agent.stop(Duration::ZERO).await
                }
            };
            tracing::info!(tenant.id = %scope.tenant(), agent.id = %id, state = ended.state().as_str(), code = ended.exit_code, "agent ended");
            incarnation.write_end(ended, &supervisor.0.stopping).await;
            supervisor.leave(id, life);
            metrics::gauge!("agentapi_agents_running").decrement(1);
            left.cancel();
        });
    }

    fn incarnation(&self, scope: TenantScope, id: AgentId, life: Fence, over: &CancellationToken) -> Incarnation {
        let (database, replica, registration) = (self.0.database.clone(), self.0.replica, self.0.registration.clone());
        Incarnation { database, scope, id, life, replica, over: over.clone(), registration }
    }

    /// Frees an agent's place, unless it is that of a later life.
    fn leave(&self, id: AgentId, life: Fence) {
        let mut places = self.lock();
        if places.get(&id).is_some_and(|place| place.life == life) {
            places.remove(&id);
        }
    }

    /// The map. A panic while it was locked cannot have left a place half-made.
    fn lock(&self) -> MutexGuard<'_, HashMap<AgentId, Place>> {
        self.0.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Supervisor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Supervisor").field("live", &self.lock().len()).finish_non_exhaustive()
    }
}
