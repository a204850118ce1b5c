//! The agents of this server: starting, finding, stopping them, and what is written of it.

mod error;
mod sealed_env;
mod settled;
mod stored_history;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

pub use self::error::AgentError;
pub use self::sealed_env::reseal as reseal_env;
use self::stored_history::StoredHistory;
use super::launch::{self, Launch};
use super::live::{Ended, LiveAgent, Pace, SpawnOptions};
use super::workspace::Workspace;
use crate::cache::Cache;
use crate::config;
use crate::domain::{Agent, AgentId, AgentState, KeyRing, Message, NewAgent, Principal, TenantId, TenantScope};
use crate::postgres::{Action, AuditEntry, Database, DatabaseError, NewAgentRow, RunningAgent};

/// How long an agent that is asked to end may take before it is killed.
const STOP_GRACE: Duration = Duration::from_secs(5);

/// Waits between attempts to write that an agent has ended, while Postgres is away: the first, and the longest.
const WRITE_BACK_OFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

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
    replica: Uuid,
    tasks: TaskTracker,
    stopping: CancellationToken,
    /// One for each agent that may live.
    places: Arc<Semaphore>,
    live: Mutex<HashMap<AgentId, Place>>,
}

/// A live agent in its place.
struct Place {
    tenant: TenantId,
    agent: LiveAgent,
    /// Done once the agent has ended and that is written; then its place is free.
    left: CancellationToken,
    _permit: OwnedSemaphorePermit,
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
    pub replica: Uuid,
    /// Where tasks are spawned.
    pub tasks: TaskTracker,
    /// Done once no more agents are to be started.
    pub stopping: CancellationToken,
}

impl Supervisor {
    /// Supervises agents, of which none lives yet.
    #[must_use]
    pub fn new(parts: SupervisorParts) -> Self {
        let SupervisorParts { settings, data_dir, database, cache, keys, replica, tasks, stopping } = parts;
        let places = Arc::new(Semaphore::new(settings.max_running));
        Self(Arc::new(Inner {
            settings,
            data_dir,
            database,
            cache,
            keys,
            replica,
            tasks,
            stopping,
            places,
            live: Mutex::default(),
        }))
    }

    /// Whether users may start any program.
    #[must_use]
    pub fn allows_custom_commands(&self) -> bool {
        self.0.settings.allow_custom_commands
    }

    /// Marks agents as lost that this server ran when it last died without a word. Returns how many.
    ///
    /// # Errors
    /// If Postgres fails.
    #[expect(clippy::disallowed_methods, reason = "the server acts on its own agents of every tenant; no caller is involved")]
    pub async fn forget_lost(&self) -> Result<u64, DatabaseError> {
        let mut lost = 0;
        for tenant in self.0.database.tenants().list().await? {
            lost += self.0.database.agents(TenantScope::assume_verified(tenant.id)).lose(self.0.replica).await?;
        }
        Ok(lost)
    }

    /// Starts a new agent.
    ///
    /// # Errors
    /// [`AgentError`]; nothing runs then, and nothing is written.
    pub async fn create(&self, principal: &Principal, new: NewAgent) -> Result<Agent, AgentError> {
        let supervisor = self.clone();
        let principal = *principal;
        // On a task of its own: a caller that hangs up does not leave half an agent behind.
        let task = self.0.tasks.spawn(async move { supervisor.create_now(&principal, new).await });
        task.await.map_err(io::Error::other)?
    }

    async fn create_now(&self, principal: &Principal, new: NewAgent) -> Result<Agent, AgentError> {
        let permit = self.take_place()?;
        let id = AgentId::new();
        let workspace = Workspace::of(&self.0.data_dir, principal.tenant(), id)?;
        workspace.create(new.agent_type, self.0.settings.home_template.as_deref()).await?;
        let sealed_env = sealed_env::seal(&self.0.keys, principal.tenant(), id, &new.env)?;
        let options = SpawnOptions {
            launch: self.launch(&workspace, &new.command, &new.env),
            agent_type: new.agent_type,
            size: new.terminal,
            initial_prompt: new.initial_prompt,
            history: Vec::new(),
            pace: Pace::default(),
        };
        let history = self.history(principal.scope, id);
        let live = match LiveAgent::spawn(options, history, &self.0.tasks) {
            Ok(live) => live,
            Err(error) => {
                workspace.remove().await?;
                return Err(error.into());
            }
        };
        let row = NewAgentRow {
            id,
            name: new.name.as_deref(),
            agent_type: new.agent_type,
            transport: new.transport,
            command: &new.command,
            sealed_env: &sealed_env,
            terminal: new.terminal,
            replica: self.0.replica,
            created_by: principal.user,
        };
        match self.0.database.agents(principal.scope).insert(&row).await {
            Ok(agent) => {
                self.supervise(principal.scope, id, live, permit);
                Ok(agent)
            }
            Err(error) => {
                live.stop(Duration::ZERO).await;
                workspace.remove().await?;
                Err(error.into())
            }
        }
    }

    /// Stops an agent with all that it started.
    ///
    /// # Errors
    /// [`AgentError`].
    pub async fn stop(&self, principal: &Principal, id: AgentId) -> Result<Agent, AgentError> {
        if let Some((live, left)) = self.place(principal.tenant(), id) {
            live.stop(STOP_GRACE).await;
            // Where Postgres is away, asking it below says so.
            let _ = tokio::time::timeout(WRITE_PATIENCE, left.cancelled()).await;
            self.0.database.record(principal.scope, &AuditEntry::by(principal.user, Action::AgentStop, id.to_string())).await?;
        }
        let agent = self.get(principal, id).await?;
        if agent.state == AgentState::Running { Err(AgentError::Elsewhere) } else { Ok(agent) }
    }

    /// Starts an agent again, after stopping it if it runs.
    ///
    /// # Errors
    /// [`AgentError`].
    pub async fn restart(&self, principal: &Principal, id: AgentId) -> Result<Agent, AgentError> {
        self.stop(principal, id).await?;
        let supervisor = self.clone();
        let principal = *principal;
        let task = self.0.tasks.spawn(async move { supervisor.start_again(&principal, id).await });
        task.await.map_err(io::Error::other)?
    }

    async fn start_again(&self, principal: &Principal, id: AgentId) -> Result<Agent, AgentError> {
        let permit = self.take_place()?;
        let agents = self.0.database.agents(principal.scope);
        let RunningAgent { agent, sealed_env } = agents.get(id).await?.ok_or(AgentError::NotFound)?;
        let env = sealed_env::open(&self.0.keys, principal.tenant(), id, &sealed_env)?;
        let history = self.0.database.messages(principal.scope).list(id).await?;
        let workspace = Workspace::of(&self.0.data_dir, principal.tenant(), id)?;
        workspace.create(agent.agent_type, self.0.settings.home_template.as_deref()).await?;
        let options = SpawnOptions {
            launch: self.launch(&workspace, &agent.command, &env),
            agent_type: agent.agent_type,
            size: agent.terminal,
            initial_prompt: None,
            history: history.to_vec(),
            pace: Pace::default(),
        };
        // Of two that restart it at once, one writes that it runs, and starts it.
        let agent = agents.start(id, self.0.replica, principal.user).await?.ok_or(AgentError::Elsewhere)?;
        match LiveAgent::spawn(options, self.history(principal.scope, id), &self.0.tasks) {
            Ok(live) => {
                self.supervise(principal.scope, id, live, permit);
                Ok(agent)
            }
            Err(error) => {
                agents.end(id, AgentState::Exited, None).await?;
                Err(error.into())
            }
        }
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
        match self.get(principal, id).await?.state {
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
        let agent = self.get(principal, id).await?;
        let written = settled::conversation(&self.0.cache, &self.0.database, principal.scope, &agent).await?;
        Ok(Arc::new(written.to_vec()))
    }

    /// Puts a file where a live agent can read it. Returns its path.
    ///
    /// # Errors
    /// [`AgentError`].
    pub async fn upload(&self, principal: &Principal, id: AgentId, name: &str, content: Vec<u8>) -> Result<PathBuf, AgentError> {
        self.live(principal, id).await?;
        let workspace = Workspace::of(&self.0.data_dir, principal.tenant(), id)?;
        Ok(workspace.keep_upload(name, content).await?)
    }

    /// Stops every agent, all at the same time.
    pub async fn drain(&self) {
        let agents: Vec<LiveAgent> = self.lock().values().map(|place| place.agent.clone()).collect();
        if !agents.is_empty() {
            tracing::info!(agents = agents.len(), "stopping agents");
        }
        futures_util::future::join_all(agents.iter().map(|agent| agent.stop(STOP_GRACE))).await;
    }

    fn take_place(&self) -> Result<OwnedSemaphorePermit, AgentError> {
        if self.0.stopping.is_cancelled() {
            return Err(AgentError::Stopping);
        }
        Arc::clone(&self.0.places).try_acquire_owned().map_err(|_| AgentError::LimitReached)
    }

    /// The live agent of this tenant; another tenant's is not found.
    fn find(&self, tenant: TenantId, id: AgentId) -> Option<LiveAgent> {
        self.place(tenant, id).map(|(agent, _)| agent)
    }

    fn place(&self, tenant: TenantId, id: AgentId) -> Option<(LiveAgent, CancellationToken)> {
        self.lock().get(&id).filter(|place| place.tenant == tenant).map(|place| (place.agent.clone(), place.left.clone()))
    }

    /// Gives an agent its place until it ends, and writes that it has.
    fn supervise(&self, scope: TenantScope, id: AgentId, agent: LiveAgent, permit: OwnedSemaphorePermit) {
        let supervisor = self.clone();
        let left = CancellationToken::new();
        let place = Place { tenant: scope.tenant(), agent: agent.clone(), left: left.clone(), _permit: permit };
        self.lock().insert(id, place);
        metrics::gauge!("agentapi_agents_running").increment(1);
        tracing::info!(tenant.id = %scope.tenant(), agent.id = %id, "agent started");
        self.0.tasks.spawn(async move {
            let ended = agent.wait_ended().await;
            tracing::info!(tenant.id = %scope.tenant(), agent.id = %id, state = ended.state().as_str(), code = ended.exit_code, "agent ended");
            supervisor.write_end(scope, id, ended).await;
            supervisor.lock().remove(&id);
            metrics::gauge!("agentapi_agents_running").decrement(1);
            left.cancel();
        });
    }

    /// Writes that an agent has ended, as soon as Postgres takes it.
    async fn write_end(&self, scope: TenantScope, id: AgentId, ended: Ended) {
        let (mut wait, longest) = WRITE_BACK_OFF;
        while let Err(error) = self.0.database.agents(scope).end(id, ended.state(), ended.exit_code).await {
            tracing::warn!(tenant.id = %scope.tenant(), agent.id = %id, %error, "cannot write that the agent has ended");
            // At the next start it is found to be lost.
            if self.0.stopping.is_cancelled() {
                return;
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(longest);
        }
    }

    fn launch(&self, workspace: &Workspace, command: &[String], env: &BTreeMap<String, String>) -> Launch {
        let (program, args) =
            command.split_first().map_or((String::new(), Vec::new()), |(program, args)| (program.clone(), args.to_vec()));
        let env = launch::environment(std::env::vars_os(), &self.0.settings.env_passthrough, env, &workspace.home());
        Launch { program, args, directory: workspace.work(), env }
    }

    fn history(&self, scope: TenantScope, id: AgentId) -> StoredHistory {
        StoredHistory::new(self.0.database.clone(), scope, id)
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
