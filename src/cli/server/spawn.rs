//! Starting the agent: in a terminal, or by the Agent Client Protocol.

use super::Failure;
use super::settings::Settings;
use super::state_file::StateFile;
use crate::agent::{
    AcpOptions, Entry, History, HistoryError, Launch, Leave, LiveAgent, Pace, SpawnError, SpawnOptions, whole_environment,
};
use crate::domain::{AgentId, Fence, Message};
use crate::lifecycle::Lifecycle;

/// What a life of the agent begins with.
pub(super) struct Beginning {
    pub(super) life: Fence,
    pub(super) history: Vec<Message>,
    pub(super) initial_prompt: Option<String>,
}

/// Starts the agent where the server was started, with its whole environment.
pub(super) async fn spawn(
    settings: &Settings,
    beginning: Beginning,
    state: StateFile,
    lifecycle: &Lifecycle,
) -> Result<LiveAgent, Failure> {
    let launch = Launch {
        program: settings.program.clone(),
        args: settings.args.clone(),
        directory: std::env::current_dir()?,
        env: whole_environment(std::env::vars_os()),
    };
    let Beginning { life, history, initial_prompt } = beginning;
    let agent_type = settings.agent_type;
    if !settings.acp {
        let pace = Pace::default();
        let options = SpawnOptions { launch, agent_type, size: settings.size, initial_prompt, history, life, pace };
        return LiveAgent::spawn(options, state, lifecycle.tasks()).map_err(|error| not_started(&error));
    }
    let options = AcpOptions {
        id: AgentId::new(),
        agent_type,
        workspace: launch.directory.clone(),
        launch,
        initial_prompt,
        history,
        next_entry: 0,
        session: None,
        life,
        // The protocol at the root has nobody to ask: who starts an agent like this grants what it asks for.
        leave: Leave::Allow,
    };
    let agent = LiveAgent::spawn_acp(options, (state, Unkept), lifecycle.tasks()).map_err(|error| not_started(&error))?;
    match agent.opened().await {
        Ok(_) => Ok(agent),
        Err(error) => {
            agent.stop(super::AGENT_GRACE).await;
            Err(format!("Error starting process: {error}").into())
        }
    }
}

fn not_started(error: &SpawnError) -> Failure {
    format!("Error starting process: {}", crate::cli::chain(error)).into()
}

/// A timeline that is kept nowhere: the protocol at the root does not tell it.
struct Unkept;

impl History<Entry> for Unkept {
    async fn save(&self, _: Vec<Entry>) -> Result<(), HistoryError> {
        Ok(())
    }
}
