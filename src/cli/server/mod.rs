//! `agentapi server`: one agent, served at the root as coder/agentapi serves it. No tenants, no stores, no log-in.

mod flags;
mod listen;
mod pid_file;
mod prompt;
mod settings;
mod signals;
mod spawn;
mod state_file;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use chrono::Utc;
use tokio::net::TcpListener;

pub(super) use self::flags::Flags;
use self::pid_file::PidFile;
use self::prompt::Prompt;
use self::settings::{Settings, Task};
use self::spawn::Beginning;
use self::state_file::{Kept, StateFile};
use super::Failure;
use crate::agent::{Ended, LiveAgent, SendError, Uploads};
use crate::config::Config;
use crate::domain::{Fence, Transport, random_bytes};
use crate::http::single::{self, Parts, SingleAgent, Warning};
use crate::http::{ConnectionLimits, Connections};
use crate::lifecycle::Lifecycle;
use crate::open_files;
use crate::telemetry::{self, LogGuard};

/// How long the agent has to end once it was asked to.
const AGENT_GRACE: Duration = Duration::from_secs(5);
/// How long requests may take to end, from when the server is asked to stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(7);

/// Serves until the agent ends or a signal says so.
pub(super) async fn run(flags: Flags) -> Result<(), Failure> {
    let variable = |name: &str| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned());
    match settings::read(flags, variable)? {
        Task::Nothing => Ok(()),
        Task::PrintOpenapi => Ok(writeln!(std::io::stdout().lock(), "{}", single::document())?),
        Task::Serve(settings) => serve(*settings).await,
    }
}

async fn serve(settings: Settings) -> Result<(), Failure> {
    let _log = log()?;
    open_files::raise();
    let _pid_file = settings.pid_file.clone().map(PidFile::write).transpose()?;
    let listeners = listen::listen(settings.host, settings.port).await?;
    let prompt = prompt::find(settings.initial_prompt.clone()).await?;
    let lifecycle = Lifecycle::default();
    let mut start = Start::new(&settings);
    let initial_prompt = match &prompt {
        Prompt::Known(prompt) => start.prompt(prompt.as_deref()),
        Prompt::Later(_) => start.prompt(None),
    };
    let Start { life, kept, warnings } = start;
    let history = kept.messages.clone();
    let state = StateFile::new(settings.save_state.clone(), kept);
    let beginning = Beginning { life, history, initial_prompt };
    let agent = spawn::spawn(&settings, beginning, state.clone(), &lifecycle).await?;
    signals::watch(&lifecycle, agent.clone(), state.clone())?;
    if let Prompt::Later(prompt) = prompt {
        let (agent, stopping) = (agent.clone(), lifecycle.stopping());
        lifecycle.tasks().spawn(async move {
            tokio::select! {
                () = send_later(agent, prompt) => {}
                () = stopping.cancelled() => {}
            }
        });
    }
    let uploads = uploads();
    let parts = Parts {
        agent: agent.clone(),
        life,
        uploads: uploads.clone(),
        hosts: settings.hosts,
        origins: settings.origins,
        chat_base_path: settings.chat_base_path,
        warnings,
        connections: Connections::new(ConnectionLimits::behind_one_proxy(open_files::room_for_connections(0)), Vec::new()),
        lifecycle: lifecycle.clone(),
    };
    let ended = until_the_end(SingleAgent::new(parts), listeners, &state).await?;
    if let Err(error) = uploads.remove().await {
        tracing::warn!(%error, "uploaded files could not be removed");
    }
    match ended {
        Ended { stopped: true, .. } | Ended { exit_code: Some(0), .. } => Ok(()),
        ended if agent.transport() == Transport::Acp => {
            Err(format!("agent exited with error: ACP process exited{}", how(ended)).into())
        }
        ended => Err(last_words(&agent.screen(), ended)),
    }
}

/// Logs as `LOG_LEVEL` and `LOG_FORMAT` say. A file `.env` is not read: where an agent works, it belongs to the work.
fn log() -> Result<LogGuard, Failure> {
    let named = |name: &str| Some((name.to_owned(), std::env::var(name).ok()?));
    let variables: BTreeMap<_, _> = ["LOG_LEVEL", "LOG_FORMAT"].into_iter().filter_map(named).collect();
    Ok(telemetry::log(&Config::from_variables(&variables)?.log))
}

/// What a life of the agent begins with.
struct Start {
    life: Fence,
    kept: Kept,
    warnings: Vec<Warning>,
}

impl Start {
    /// Goes on with the conversation that was kept, if there is one.
    fn new(settings: &Settings) -> Self {
        // Lives are not counted where nothing is kept of them; 2^22 are enough to tell one from another.
        let life = Fence::from_i64(1 + i64::from(u32::from_be_bytes(random_bytes()) >> 10));
        let nothing = Self { life, kept: Kept::default(), warnings: Vec::new() };
        let Some(path) = &settings.load_state else { return nothing };
        match state_file::load(path, life) {
            Ok(Some(kept)) => {
                tracing::info!(messages = kept.messages.len(), "the conversation goes on");
                Self { kept, ..nothing }
            }
            Ok(None) => {
                tracing::info!(file = %path.display(), "there is no state file yet");
                nothing
            }
            Err(error) => {
                tracing::error!(%error, "failed to load state");
                if settings.save_state.is_some() {
                    keep_unreadable(path);
                }
                let message = format!("Failed to restore previous session: {error}");
                Self { warnings: vec![Warning { message, time: Utc::now() }], ..nothing }
            }
        }
    }

    /// The prompt that is to be sent: the one that is given now, unless it was sent before; else the one that waits since earlier.
    fn prompt(&mut self, given: Option<&str>) -> Option<String> {
        let given = given.map(|text| text.trim_matches([' ', '\t', '\n', '\r', '\x0c', '\x0b'])).filter(|text| !text.is_empty());
        if let Some(given) = given
            && given != self.kept.initial_prompt
        {
            given.clone_into(&mut self.kept.initial_prompt);
            self.kept.initial_prompt_sent = false;
        }
        let due = !self.kept.initial_prompt_sent && !self.kept.initial_prompt.is_empty();
        due.then(|| self.kept.initial_prompt.clone())
    }
}

/// Puts a file aside that could not be read, for another is about to take its name.
fn keep_unreadable(path: &Path) {
    let mut aside = path.as_os_str().to_owned();
    aside.push(".unreadable");
    match std::fs::rename(path, &aside) {
        Ok(()) => tracing::warn!(file = %Path::new(&aside).display(), "the state file that could not be read is kept"),
        Err(error) => tracing::warn!(%error, "the state file that could not be read will be replaced"),
    }
}

/// Sends what standard input held, once it closes and the agent takes it.
async fn send_later(agent: LiveAgent, prompt: tokio::sync::oneshot::Receiver<Result<String, Failure>>) {
    let text = match prompt.await.map(prompt::known) {
        Ok(Ok(Some(text))) => text,
        Ok(Ok(None)) | Err(_) => return,
        Ok(Err(error)) => return tracing::error!(%error, "the initial prompt is not sent"),
    };
    while agent.until_idle().await {
        match agent.send_user(&text).await {
            // Somebody was faster.
            Err(SendError::Busy | SendError::Asks) => {}
            Ok(()) => return,
            Err(error) => return tracing::error!(%error, "the initial prompt is not sent"),
        }
    }
}

/// A folder of its own for the files of this run.
fn uploads() -> Uploads {
    Uploads::at(std::env::temp_dir().join(format!("agentapi-uploads-{}", hex::encode(random_bytes::<8>()))))
}

/// Serves until the agent has ended, by itself or because the server is asked to stop; then ends everything.
async fn until_the_end(app: SingleAgent, listeners: Vec<TcpListener>, state: &StateFile) -> Result<Ended, Failure> {
    let (agent, lifecycle) = (app.agent.clone(), app.lifecycle.clone());
    announce(&listeners)?;
    for listener in listeners {
        lifecycle.tasks().spawn(single::serve(listener, app.clone()));
    }
    drop(app);
    let stopping = lifecycle.stopping();
    let ended = tokio::select! {
        ended = agent.wait_ended() => Some(ended),
        () = stopping.cancelled() => None,
    };
    if ended.is_none()
        && let Err(error) = state.keep(agent.messages().to_vec(), true).await
    {
        tracing::error!(%error, "failed to save state");
    }
    lifecycle.stop();
    let (stopped, drained) = tokio::join!(agent.stop(AGENT_GRACE), lifecycle.drain(STOP_TIMEOUT));
    if !drained {
        tracing::warn!("stopped with requests cut off");
    }
    Ok(ended.unwrap_or(stopped))
}

/// Says on standard output that the server is ready.
fn announce(listeners: &[TcpListener]) -> Result<(), Failure> {
    let Some(listener) = listeners.first() else { return Ok(()) };
    let address = listener.local_addr()?;
    tracing::info!(%address, "ready");
    // Nobody may be reading: that is no reason not to serve.
    if let Err(error) = writeln!(std::io::stdout(), "agentapi is ready at http://{address}") {
        tracing::warn!(%error, "cannot write to standard output");
    }
    Ok(())
}

/// What an agent that failed showed last.
fn last_words(screen: &str, ended: Ended) -> Failure {
    let line = "=".repeat(8);
    format!("\n{line}\n{}\n{line}\nnon-zero exit code{}", screen.trim(), how(ended)).into()
}

/// How a program ended.
fn how(ended: Ended) -> String {
    match (ended.exit_code, ended.signal) {
        (Some(code), _) => format!(": {code}"),
        (None, Some(signal)) => format!(": ended by signal {signal}"),
        (None, None) => String::new(),
    }
}
