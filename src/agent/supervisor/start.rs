//! How an agent begins a life: its first, and another.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;

use super::inbox::Inbox;
use super::sealed_env::Safe;
use super::stored_history::StoredHistory;
use super::{AgentError, Living, Supervisor};
use crate::agent::acp::{AcpOptions, Leave};
use crate::agent::launch::{self, Launch};
use crate::agent::live::{LiveAgent, Pace, SpawnOptions};
use crate::agent::remote::AttachOptions;
use crate::agent::workspace::Workspace;
use crate::domain::{
    Agent, AgentId, AgentKind, AgentState, AgentType, ApprovalPolicy, Fence, Message, NewAcp, NewAgent, NewAgentKind, NewProgram,
    NewRemote, Principal, TenantScope,
};
use crate::postgres::{NewAgentRow, StoredAgent};

/// A new agent that does not live yet, and its place.
struct Conceived {
    id: AgentId,
    name: Option<String>,
    agent_type: AgentType,
    permit: OwnedSemaphorePermit,
}

/// What a life of an agent that speaks the Agent Client Protocol begins with.
struct Begun {
    id: AgentId,
    agent_type: AgentType,
    approval_policy: ApprovalPolicy,
    initial_prompt: Option<String>,
    history: Vec<Message>,
    next_entry: i64,
    session: Option<String>,
    life: Fence,
}

impl Begun {
    /// A first life.
    fn new(id: AgentId, agent_type: AgentType, approval_policy: ApprovalPolicy) -> Self {
        let (history, life) = (Vec::new(), Fence::FIRST);
        Self { id, agent_type, approval_policy, initial_prompt: None, history, next_entry: 0, session: None, life }
    }
}

impl Supervisor {
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
        let NewAgent { name, agent_type, kind } = new;
        let conceived = Conceived { id: AgentId::new(), name, agent_type, permit };
        match kind {
            NewAgentKind::Program(program) => self.create_program(principal, conceived, program).await,
            NewAgentKind::Acp(acp) => self.create_acp(principal, conceived, acp).await,
            NewAgentKind::Remote(remote) => self.create_remote(principal, conceived, remote).await,
        }
    }

    async fn create_program(&self, principal: &Principal, new: Conceived, program: NewProgram) -> Result<Agent, AgentError> {
        let NewProgram { command, env, initial_prompt, terminal } = program;
        let workspace = Workspace::of(&self.0.data_dir, principal.tenant(), new.id)?;
        workspace.create(new.agent_type, self.0.settings.home_template.as_deref()).await?;
        let sealed_env = self.safe(principal.scope, new.id).seal_env(&env)?;
        let options = SpawnOptions {
            launch: self.launch(&workspace, &command, &env),
            agent_type: new.agent_type,
            size: terminal,
            initial_prompt,
            history: Vec::new(),
            life: Fence::FIRST,
            pace: Pace::default(),
        };
        let kind = AgentKind::Program { command, terminal };
        let born = match self.spawn(principal.scope, new.id, options) {
            Ok(living) => self.register(principal, new, living, &kind, &sealed_env).await,
            Err(error) => Err(error),
        };
        if born.is_err() {
            workspace.remove().await?;
        }
        born
    }

    async fn create_acp(&self, principal: &Principal, new: Conceived, acp: NewAcp) -> Result<Agent, AgentError> {
        let NewAcp { command, env, initial_prompt, approval_policy } = acp;
        let (scope, id) = (principal.scope, new.id);
        let workspace = Workspace::of(&self.0.data_dir, principal.tenant(), id)?;
        workspace.create(new.agent_type, self.0.settings.home_template.as_deref()).await?;
        let sealed_env = self.safe(scope, id).seal_env(&env)?;
        let launch = self.launch(&workspace, &command, &env);
        let begun = Begun { initial_prompt, ..Begun::new(id, new.agent_type, approval_policy) };
        let kind = AgentKind::Acp { command, approval_policy };
        let born = match self.open(scope, &workspace, launch, begun).await {
            Ok((living, session)) => match self.register(principal, new, living, &kind, &sealed_env).await {
                Ok(agent) => {
                    self.keep_session(scope, id, Fence::FIRST, &session).await;
                    Ok(agent)
                }
                Err(error) => Err(error),
            },
            Err(error) => Err(error),
        };
        if born.is_err() {
            workspace.remove().await?;
        }
        born
    }

    async fn create_remote(&self, principal: &Principal, new: Conceived, remote: NewRemote) -> Result<Agent, AgentError> {
        let NewRemote { url, token } = remote;
        let sealed = self.safe(principal.scope, new.id).seal_token(&url, token.as_ref())?;
        let kind = AgentKind::Remote { url: url.clone() };
        let (id, agent_type) = (new.id, new.agent_type);
        let options = AttachOptions { id, agent_type, url, token, history: Vec::new(), life: Fence::FIRST };
        let living = self.attach(principal.scope, options);
        if let Err(error) = living.live.attached().await {
            living.live.stop(Duration::ZERO).await;
            return Err(AgentError::Attach(error));
        }
        self.register(principal, new, living, &kind, &sealed).await
    }

    /// Starts an agent that speaks the Agent Client Protocol, and waits for its session.
    async fn open(
        &self,
        scope: TenantScope,
        workspace: &Workspace,
        launch: Launch,
        begun: Begun,
    ) -> Result<(Living, Arc<str>), AgentError> {
        let Begun { id, agent_type, approval_policy, initial_prompt, history, next_entry, session, life } = begun;
        let leave = match approval_policy {
            ApprovalPolicy::Ask => {
                Leave::Ask { database: self.0.database.clone(), scope, patience: self.0.settings.approval_timeout }
            }
            ApprovalPolicy::Allow => Leave::Allow,
            ApprovalPolicy::Deny => Leave::Deny,
        };
        let workspace = workspace.root();
        let options = AcpOptions { id, agent_type, launch, workspace, initial_prompt, history, next_entry, session, life, leave };
        let (over, inbox) = (CancellationToken::new(), Arc::default());
        let histories = self.history(scope, id, life, &over, &inbox);
        let live = LiveAgent::spawn_acp(options, (histories.clone(), histories), &self.0.tasks)?;
        match live.opened().await {
            Ok(session) => Ok((Living { live, life, over, inbox }, session.unwrap_or_default())),
            Err(error) => {
                if !self.0.registration.is_registered() {
                    // Otherwise its last entries would wait to be stored until the server is registered again.
                    over.cancel();
                }
                live.stop(Duration::ZERO).await;
                Err(error.into())
            }
        }
    }

    /// Keeps an agent's session, to go on with in another life. Without it, that begins a new one.
    async fn keep_session(&self, scope: TenantScope, id: AgentId, life: Fence, session: &str) {
        if let Err(error) = self.0.database.agents(scope).keep_acp_session(id, life, session).await {
            tracing::warn!(tenant.id = %scope.tenant(), agent.id = %id, %error, "an agent's session is not kept");
        }
    }

    /// Writes that a new agent runs, and gives it its place; or ends it.
    async fn register(
        &self,
        principal: &Principal,
        new: Conceived,
        living: Living,
        kind: &AgentKind,
        sealed_env: &[u8],
    ) -> Result<Agent, AgentError> {
        let Conceived { id, name, agent_type, permit } = new;
        let (replica, created_by) = (self.0.replica, principal.user);
        let row = NewAgentRow { id, name: name.as_deref(), agent_type, kind, sealed_env, replica, created_by };
        let written = self.0.database.agents(principal.scope).insert(&row).await;
        match written.map_err(AgentError::from).and_then(|agent| agent.ok_or(AgentError::Replaced)) {
            Ok(agent) => {
                self.supervise(principal.scope, id, living, permit);
                Ok(agent)
            }
            Err(error) => {
                // Otherwise its messages might wait to be stored until the server is registered again.
                living.over.cancel();
                living.live.stop(Duration::ZERO).await;
                Err(error)
            }
        }
    }

    /// Starts an agent again, after stopping it if it runs.
    ///
    /// # Errors
    /// [`AgentError`].
    pub async fn restart(&self, principal: &Principal, id: AgentId) -> Result<Agent, AgentError> {
        self.end(principal, id).await?;
        let supervisor = self.clone();
        let principal = *principal;
        let task = self.0.tasks.spawn(async move { supervisor.start_again(&principal, id).await });
        task.await.map_err(io::Error::other)?
    }

    async fn start_again(&self, principal: &Principal, id: AgentId) -> Result<Agent, AgentError> {
        let permit = self.take_place()?;
        let agents = self.0.database.agents(principal.scope);
        let Some(stored) = agents.start(id, self.0.replica, principal.user).await? else {
            // Of two that restart it at once, one writes that it runs, and starts it. A server that counts as dead writes nothing.
            let is_running = self.get(principal, id).await?.state == AgentState::Running;
            return Err(if is_running { AgentError::Elsewhere } else { AgentError::Replaced });
        };
        let (agent, life) = (stored.agent.clone(), stored.life);
        match self.live_again(principal.scope, stored).await {
            Ok(living) => {
                self.supervise(principal.scope, id, living, permit);
                Ok(agent)
            }
            Err(error) => {
                // Nothing is stored if the incarnation is over by now.
                let _is_stored = agents.end(id, life, AgentState::Exited, None).await?;
                Err(error)
            }
        }
    }

    /// Brings an agent to life that is written to run here.
    async fn live_again(&self, scope: TenantScope, stored: StoredAgent) -> Result<Living, AgentError> {
        let StoredAgent { agent, sealed_env, life, acp_session, .. } = stored;
        let Agent { id, agent_type, .. } = agent;
        let safe = self.safe(scope, id);
        let history = self.0.database.messages(scope).list(id, None).await?.to_vec();
        match agent.kind {
            AgentKind::Program { command, terminal } => {
                let env = safe.open_env(&sealed_env)?;
                let workspace = Workspace::of(&self.0.data_dir, scope.tenant(), id)?;
                workspace.create(agent_type, self.0.settings.home_template.as_deref()).await?;
                let launch = self.launch(&workspace, &command, &env);
                let pace = Pace::default();
                let options = SpawnOptions { launch, agent_type, size: terminal, initial_prompt: None, history, life, pace };
                self.spawn(scope, id, options)
            }
            AgentKind::Acp { command, approval_policy } => {
                let env = safe.open_env(&sealed_env)?;
                let workspace = Workspace::of(&self.0.data_dir, scope.tenant(), id)?;
                workspace.create(agent_type, self.0.settings.home_template.as_deref()).await?;
                let launch = self.launch(&workspace, &command, &env);
                let next_entry = self.0.database.timeline(scope).count(id).await?;
                let begun = Begun::new(id, agent_type, approval_policy);
                let begun = Begun { history, next_entry, session: acp_session, life, ..begun };
                let (living, session) = self.open(scope, &workspace, launch, begun).await?;
                self.keep_session(scope, id, life, &session).await;
                Ok(living)
            }
            AgentKind::Remote { url } => {
                let token = safe.open_token(&url, &sealed_env)?;
                let living = self.attach(scope, AttachOptions { id, agent_type, url, token, history, life });
                // Its server may be away: it is followed from when it is back, and its status tells so.
                let _away = living.live.attached().await;
                Ok(living)
            }
        }
    }

    fn spawn(&self, scope: TenantScope, id: AgentId, options: SpawnOptions) -> Result<Living, AgentError> {
        let (life, over, inbox) = (options.life, CancellationToken::new(), Arc::default());
        let history = self.history(scope, id, life, &over, &inbox);
        Ok(Living { live: LiveAgent::spawn(options, history, &self.0.tasks)?, life, over, inbox })
    }

    fn attach(&self, scope: TenantScope, options: AttachOptions) -> Living {
        let (life, over, inbox) = (options.life, CancellationToken::new(), Arc::default());
        let history = self.history(scope, options.id, life, &over, &inbox);
        Living { live: LiveAgent::attach(options, self.0.outbound.clone(), history, &self.0.tasks), life, over, inbox }
    }

    fn history(
        &self,
        scope: TenantScope,
        id: AgentId,
        life: Fence,
        over: &CancellationToken,
        inbox: &Arc<Inbox>,
    ) -> StoredHistory {
        StoredHistory { incarnation: self.incarnation(scope, id, life, over), inbox: Arc::clone(inbox) }
    }

    fn safe(&self, scope: TenantScope, id: AgentId) -> Safe<'_> {
        Safe { keys: &self.0.keys, tenant: scope.tenant(), id }
    }

    fn take_place(&self) -> Result<OwnedSemaphorePermit, AgentError> {
        if self.0.stopping.is_cancelled() {
            return Err(AgentError::Stopping);
        }
        Arc::clone(&self.0.places).try_acquire_owned().map_err(|_| AgentError::LimitReached)
    }

    fn launch(&self, workspace: &Workspace, command: &[String], env: &BTreeMap<String, String>) -> Launch {
        let (program, args) =
            command.split_first().map_or((String::new(), Vec::new()), |(program, args)| (program.clone(), args.to_vec()));
        let env = launch::environment(std::env::vars_os(), &self.0.settings.env_passthrough, env, &workspace.home());
        Launch { program, args, directory: workspace.work(), env }
    }
}
