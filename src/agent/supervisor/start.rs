//! How an agent begins a life: its first, and another.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;

use super::stored_history::StoredHistory;
use super::{AgentError, Newborn, Supervisor, sealed_env};
use crate::agent::launch::{self, Launch};
use crate::agent::live::{LiveAgent, Pace, SpawnOptions};
use crate::agent::workspace::Workspace;
use crate::domain::{Agent, AgentId, AgentState, Fence, NewAgent, Principal, TenantScope};
use crate::postgres::{NewAgentRow, StoredAgent};

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
            life: Fence::FIRST,
            pace: Pace::default(),
        };
        let newborn = match self.spawn(principal.scope, id, options, permit) {
            Ok(newborn) => newborn,
            Err(error) => {
                workspace.remove().await?;
                return Err(error);
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
        let written = self.0.database.agents(principal.scope).insert(&row).await;
        match written.map_err(AgentError::from).and_then(|agent| agent.ok_or(AgentError::Replaced)) {
            Ok(agent) => {
                self.supervise(principal.scope, id, newborn);
                Ok(agent)
            }
            Err(error) => {
                newborn.live.stop(Duration::ZERO).await;
                workspace.remove().await?;
                Err(error)
            }
        }
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
        // Of two that restart it at once, one writes that it runs, and starts it.
        let stored = agents.start(id, self.0.replica, principal.user).await?.ok_or(AgentError::Elsewhere)?;
        let (agent, life) = (stored.agent.clone(), stored.life);
        match self.live_again(principal.scope, stored, permit).await {
            Ok(newborn) => {
                self.supervise(principal.scope, id, newborn);
                Ok(agent)
            }
            Err(error) => {
                agents.end(id, life, AgentState::Exited, None).await?;
                Err(error)
            }
        }
    }

    /// Brings an agent to life that is written to run here.
    async fn live_again(
        &self,
        scope: TenantScope,
        stored: StoredAgent,
        permit: OwnedSemaphorePermit,
    ) -> Result<Newborn, AgentError> {
        let StoredAgent { agent, sealed_env, life, .. } = stored;
        let env = sealed_env::open(&self.0.keys, scope.tenant(), agent.id, &sealed_env)?;
        let history = self.0.database.messages(scope).list(agent.id).await?;
        let workspace = Workspace::of(&self.0.data_dir, scope.tenant(), agent.id)?;
        workspace.create(agent.agent_type, self.0.settings.home_template.as_deref()).await?;
        let options = SpawnOptions {
            launch: self.launch(&workspace, &agent.command, &env),
            agent_type: agent.agent_type,
            size: agent.terminal,
            initial_prompt: None,
            history: history.to_vec(),
            life,
            pace: Pace::default(),
        };
        self.spawn(scope, agent.id, options, permit)
    }

    fn spawn(
        &self,
        scope: TenantScope,
        id: AgentId,
        options: SpawnOptions,
        permit: OwnedSemaphorePermit,
    ) -> Result<Newborn, AgentError> {
        let (fence, over) = (options.life, CancellationToken::new());
        let history = StoredHistory { database: self.0.database.clone(), scope, id, life: fence, over: over.clone() };
        let live = LiveAgent::spawn(options, history, &self.0.tasks)?;
        Ok(Newborn { live, life: fence, over, permit })
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
