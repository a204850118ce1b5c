//! A live agent: one task owns its program, terminal and conversation; everybody else has a handle. Of an agent that another server
//! runs, one task owns the connection (`../remote/`), of one that speaks the Agent Client Protocol, pipes and session (`../acp/`); the
//! handle is the same.
//!
//! Everything is driven by events. The task sleeps until the program writes, somebody asks something, or the one timer that is
//! needed is due; an idle agent has no timer at all. Readers never wait for the task: they read a projection.

mod actor;
mod delivery;
mod life;
mod outbox;
mod pace;
mod projection;
mod sending;
mod typist;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::task::TaskTracker;

use crate::domain::{AgentState, AgentStatus, AgentType, ApprovalId, EventId, Fence, Message, TerminalSize, Transport, UserId};

use super::acp::{Acp, AcpError, AcpOptions, Entry};
use super::history::{History, Saved};
use super::launch::{Launch, SpawnError};
use super::remote::{AttachOptions, Remote, RemoteError, Unreachable};
use super::typing;
use crate::outbound::Outbound;

use self::actor::Actor;
pub(super) use self::actor::initial_prompt;
pub use self::pace::Pace;
pub(super) use self::projection::Projection;
pub use self::projection::{AgentEvent, ScreenSubscription, Subscription, Told};
use self::typist::Typist;

/// Largest user message or piece of raw input, in bytes.
const MAX_TEXT: usize = 64 * 1024;
/// Requests to one agent that may wait until it looks at them, which it does at once.
const COMMANDS: usize = 32;

/// What an agent is started with.
#[derive(Debug, Clone)]
pub struct SpawnOptions {
    /// The program.
    pub launch: Launch,
    /// How its screen is read.
    pub agent_type: AgentType,
    /// Size of its terminal.
    pub size: TerminalSize,
    /// A first user message, sent once the agent is ready and idle.
    pub initial_prompt: Option<String>,
    /// What was said in an earlier life of this agent; the conversation goes on after it.
    pub history: Vec<Message>,
    /// Which life of the agent this is.
    pub life: Fence,
    /// How long to wait for what.
    pub pace: Pace,
}

/// A handle on a live agent, or on one that ended and can still be read.
///
/// Cheap to clone. When the last handle is dropped, the agent is stopped.
#[derive(Clone)]
pub struct LiveAgent(Arc<Shared>);

struct Shared {
    agent_type: AgentType,
    projection: Arc<Projection>,
    driver: Driver,
    ended: watch::Receiver<Option<Ended>>,
}

/// How it is spoken to.
enum Driver {
    Typist(Typist),
    Acp(Acp),
    Remote(Remote),
}

/// How an agent ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// Whether it was stopped, rather than ending by itself.
    pub stopped: bool,
    /// Exit code of its program, if it exited.
    pub exit_code: Option<i32>,
    /// The signal that ended its program, otherwise.
    pub signal: Option<i32>,
}

impl Ended {
    /// The state that the agent is in now.
    #[must_use]
    pub const fn state(self) -> AgentState {
        if self.stopped { AgentState::Stopped } else { AgentState::Exited }
    }
}

/// Why something was not sent to an agent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// There is nothing to send.
    #[error("message must not be empty")]
    Empty,
    /// It is longer than an agent is given at once.
    #[error("message must not be longer than 65536 bytes")]
    TooLong,
    /// The agent is starting, works on something, or is being sent another message.
    #[error("message can only be sent when the agent is waiting for user input")]
    Busy,
    /// The agent asks something, and takes what is typed for an answer.
    #[error("the agent asks a question, which the last message shows: answer it with keys, as a raw message")]
    Asks,
    /// The agent does not read its input, or did not react to the message; what was typed was taken back, as far as possible.
    #[error("the agent did not react to the message")]
    Unresponsive,
    /// The agent has ended.
    #[error("the agent has ended")]
    Ended,
    /// The agent has no terminal: it takes no keys but those that cancel its work.
    #[error("an ACP agent takes no keystrokes but Escape (\\u001b) and Ctrl-C (\\u0003), which cancel what it works on")]
    NoKeys,
    /// A remote agent's server did not take it. Whether the agent has it is not known where there was no answer.
    #[error(transparent)]
    Remote(#[from] RemoteError),
}

/// Why an agent's screen is not to be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScreenError {
    /// It has none.
    #[error("an ACP agent has no screen: see its messages and its timeline")]
    None,
    /// A remote agent's server does not show it.
    #[error(transparent)]
    Remote(#[from] RemoteError),
}

impl LiveAgent {
    /// Starts an agent. Its tasks run on `tasks`, so that a shutdown can wait for them; they end with the agent.
    ///
    /// # Errors
    /// [`SpawnError`]: whether the program or the machine is at fault.
    ///
    /// # Panics
    /// Outside a Tokio runtime.
    pub fn spawn(options: SpawnOptions, history: impl History, tasks: &TaskTracker) -> Result<Self, SpawnError> {
        let (agent_type, pace) = (options.agent_type, options.pace);
        let (commands, inbox) = mpsc::channel(COMMANDS);
        let (screen, screens) = watch::channel(Arc::from(""));
        let (ended, ending) = watch::channel(None);
        let (actor, saved) = Actor::start(options, history, tasks, screen)?;
        let projection = actor.projection();
        actor.run(inbox, ended, tasks);
        let driver = Driver::Typist(Typist { pace, screen: screens, commands, saved });
        Ok(Self(Arc::new(Shared { agent_type, projection, driver, ended: ending })))
    }

    /// Starts an agent that speaks the Agent Client Protocol; whether it does is told by [`Self::opened`]. Its tasks run on `tasks`.
    ///
    /// # Errors
    /// [`SpawnError`]: whether the program or the machine is at fault.
    ///
    /// # Panics
    /// Outside a Tokio runtime.
    pub fn spawn_acp(
        options: AcpOptions,
        histories: (impl History, impl History<Entry>),
        tasks: &TaskTracker,
    ) -> Result<Self, SpawnError> {
        let agent_type = options.agent_type;
        let (ended, ending) = watch::channel(None);
        let (acp, projection) = Acp::start(options, histories, ended, tasks)?;
        Ok(Self(Arc::new(Shared { agent_type, projection, driver: Driver::Acp(acp), ended: ending })))
    }

    /// Attaches to an agent that another server runs: follows it until it is stopped, which lets it go. Its tasks run on `tasks`.
    ///
    /// # Panics
    /// Outside a Tokio runtime.
    #[must_use]
    pub fn attach(options: AttachOptions, outbound: Outbound, history: impl History, tasks: &TaskTracker) -> Self {
        let agent_type = options.agent_type;
        let (ended, ending) = watch::channel(None);
        let (remote, projection) = Remote::attach(options, outbound, history, ended, tasks);
        Self(Arc::new(Shared { agent_type, projection, driver: Driver::Remote(remote), ended: ending }))
    }

    /// Waits for the first word of a remote agent; any other is there.
    ///
    /// # Errors
    /// [`RemoteError`], if it cannot be followed at first; that is tried again and again nevertheless.
    pub async fn attached(&self) -> Result<(), RemoteError> {
        match &self.0.driver {
            Driver::Typist(_) | Driver::Acp(_) => Ok(()),
            Driver::Remote(remote) => remote.attached().await,
        }
    }

    /// Whether its status is how it is, and not how a remote agent was when it was last heard of.
    ///
    /// # Errors
    /// [`Unreachable`].
    pub fn reachable(&self) -> Result<(), Unreachable> {
        match &self.0.driver {
            Driver::Typist(_) | Driver::Acp(_) => Ok(()),
            Driver::Remote(remote) => remote.reachable(),
        }
    }

    /// Whether it takes a user message.
    #[must_use]
    pub fn status(&self) -> AgentStatus {
        self.0.projection.status()
    }

    /// Whether it waits for the answer to a question, rather than for a message.
    #[must_use]
    pub fn asks(&self) -> bool {
        self.0.projection.asks()
    }

    /// Which coding agent it is.
    #[must_use]
    pub fn agent_type(&self) -> AgentType {
        self.0.agent_type
    }

    /// Waits until it takes a message, and, if it is a remote agent, known to be. Returns whether it is; otherwise it has ended.
    pub async fn until_idle(&self) -> bool {
        loop {
            if !self.0.projection.until_idle().await {
                return false;
            }
            let Some(remote) = self.remote() else { return true };
            if remote.reachable().is_ok() {
                return true;
            }
            if !remote.until_reachable().await {
                return false;
            }
        }
    }

    /// How it is spoken to.
    #[must_use]
    pub fn transport(&self) -> Transport {
        match &self.0.driver {
            Driver::Typist(_) => Transport::Pty,
            Driver::Acp(_) => Transport::Acp,
            Driver::Remote(_) => Transport::Remote,
        }
    }

    /// Everything said so far, in order.
    #[must_use]
    pub fn messages(&self) -> Arc<Vec<Message>> {
        self.0.projection.messages()
    }

    /// Its screen: rows without trailing blanks, joined by line feeds, without blank rows at the end. That of a remote agent is shown
    /// to whoever watches it only; one that speaks the Agent Client Protocol has none.
    #[must_use]
    pub fn screen(&self) -> Arc<str> {
        match &self.0.driver {
            Driver::Typist(typist) => typist.screen(),
            Driver::Acp(_) | Driver::Remote(_) => Arc::from(""),
        }
    }

    /// What happened after the event `seen`, and all that happens from now on; everything said so far and the status, if nothing was
    /// seen yet.
    #[must_use]
    pub fn subscribe(&self, seen: Option<EventId>) -> Subscription {
        Subscription::new(&self.0.projection, seen)
    }

    /// The screen now and as it changes.
    ///
    /// # Errors
    /// [`ScreenError`].
    pub async fn subscribe_screen(&self) -> Result<ScreenSubscription, ScreenError> {
        match &self.0.driver {
            Driver::Typist(typist) => Ok(typist.subscribe_screen()),
            Driver::Acp(_) => Err(ScreenError::None),
            Driver::Remote(remote) => Ok(remote.subscribe_screen().await?),
        }
    }

    /// Types a user message, without white space around it, and hands it in. Returns once the agent has begun to work on it and the
    /// message is stored (or the store has had [`Pace::stored`]; it is stored later then). Dropping the future does not take back
    /// the message.
    ///
    /// That to a remote agent is passed on, and stored as its server tells of it.
    ///
    /// # Errors
    /// [`SendError`]; the message is not in the conversation then.
    pub async fn send_user(&self, text: &str) -> Result<(), SendError> {
        let text = user_message(text)?;
        match &self.0.driver {
            Driver::Typist(typist) => typist.send_user(text).await,
            Driver::Acp(acp) => acp.send_user(text).await,
            Driver::Remote(remote) => {
                let news = Subscription::from_now(&self.0.projection);
                remote.send_user(text, news).await
            }
        }
    }

    /// Writes `keys` to the agent's terminal as they are, whatever its status; nothing is recorded. Returns once they are queued,
    /// behind what is already being typed; or, to a remote agent, passed on. One that speaks the Agent Client Protocol has no terminal:
    /// Escape and Ctrl-C cancel what it works on.
    ///
    /// # Errors
    /// [`SendError::TooLong`], [`SendError::Ended`], [`SendError::Unresponsive`] if the agent has not read its input for long,
    /// [`SendError::NoKeys`] or [`SendError::Remote`].
    pub async fn send_raw(&self, keys: &str) -> Result<(), SendError> {
        if keys.len() > MAX_TEXT {
            return Err(SendError::TooLong);
        }
        match &self.0.driver {
            Driver::Typist(typist) => typist.send_raw(keys).await,
            Driver::Acp(acp) => acp.send_raw(keys).await,
            Driver::Remote(remote) => remote.send_raw(keys).await,
        }
    }

    /// Gives its terminal another size; that of a remote agent is its server's.
    ///
    /// # Errors
    /// [`SendError::Ended`].
    pub async fn resize(&self, size: TerminalSize) -> Result<(), SendError> {
        match &self.0.driver {
            Driver::Typist(typist) => typist.resize(size).await,
            Driver::Acp(_) | Driver::Remote(_) => Ok(()),
        }
    }

    /// Stops it: asks its processes to end, kills them after `grace`, stores what is not stored. Returns once all that is done; for
    /// one that ended already, at once. A remote agent is let go, and goes on at its server.
    pub async fn stop(&self, grace: Duration) -> Ended {
        match &self.0.driver {
            Driver::Typist(typist) => typist.stop(grace).await,
            Driver::Acp(acp) => acp.stop(grace).await,
            Driver::Remote(remote) => remote.detach(),
        }
        self.wait_ended().await
    }

    /// Waits until one that speaks the Agent Client Protocol has a session. Returns the session's id; nothing for any other agent.
    ///
    /// # Errors
    /// [`AcpError`]: it cannot be spoken to, and ends.
    pub async fn opened(&self) -> Result<Option<Arc<str>>, AcpError> {
        match &self.0.driver {
            Driver::Acp(acp) => acp.opened().await.map(Some),
            Driver::Typist(_) | Driver::Remote(_) => Ok(None),
        }
    }

    /// Hands in a user's answer to what the agent asked leave for, once that is written. Returns whether the agent still waited for it.
    ///
    /// # Errors
    /// [`SendError::Ended`].
    pub async fn approve(&self, id: ApprovalId, option: String, user: UserId) -> Result<bool, SendError> {
        match &self.0.driver {
            Driver::Acp(acp) => acp.approve(id, option, user).await,
            Driver::Typist(_) | Driver::Remote(_) => Ok(false),
        }
    }

    /// How far its timeline is stored; nothing of an agent that has none.
    pub(super) fn timeline(&self) -> Option<Saved> {
        match &self.0.driver {
            Driver::Acp(acp) => Some(acp.timeline()),
            Driver::Typist(_) | Driver::Remote(_) => None,
        }
    }

    /// Its remote part, if it is one.
    pub(super) fn remote(&self) -> Option<&Remote> {
        match &self.0.driver {
            Driver::Typist(_) | Driver::Acp(_) => None,
            Driver::Remote(remote) => Some(remote),
        }
    }

    /// How it ended; `None` while it lives.
    #[must_use]
    pub fn ended(&self) -> Option<Ended> {
        *self.0.ended.borrow()
    }

    /// Waits until it has ended and everything is stored, or given up to be.
    pub async fn wait_ended(&self) -> Ended {
        let mut ended = self.0.ended.clone();
        let known = ended.wait_for(Option::is_some).await.ok().and_then(|ended| *ended);
        // Its task is gone without a word: the runtime was shut down.
        known.unwrap_or(Ended { stopped: true, exit_code: None, signal: None })
    }
}

/// Where the answer to a command goes.
pub(super) type Reply<T> = oneshot::Sender<Result<T, SendError>>;

/// The white space that the protocol trims.
fn trim_ascii(text: &str) -> &str {
    text.trim_matches([' ', '\t', '\n', '\r', '\x0c', '\x0b'])
}

/// A user message as it is sent and stored.
///
/// # Errors
/// [`SendError::Empty`] or [`SendError::TooLong`].
pub(super) fn user_message(text: &str) -> Result<&str, SendError> {
    let text = trim_ascii(text);
    check_message(text)?;
    Ok(text)
}

fn check_message(text: &str) -> Result<(), SendError> {
    if text.len() > MAX_TEXT {
        Err(SendError::TooLong)
    } else if typing::typeable(text).trim().is_empty() {
        Err(SendError::Empty)
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
