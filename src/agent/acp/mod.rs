//! An agent that speaks the Agent Client Protocol over its standard input and output (agentclientprotocol.com).
//!
//! ```text
//! program -> wire (bounded lines) -> the protocol's crate -> inbound -> life -> conversation (messages) -> teller -> projection, history
//!                                                                          -> timeline (what else it does) -> Postgres
//!                                                                          -> approvals, files, terminals -> answers to the program
//! ```
//!
//! One task owns the program and the connection. Whatever comes from the program is taken to be hostile: bounded in size, count and time.

mod actor;
mod approvals;
mod bounded;
mod conversation;
mod error;
mod files;
mod inbound;
mod life;
mod opening;
mod terminals;
mod timeline;
mod wire;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use self::actor::Beginning;
use self::approvals::Approvals;
pub use self::approvals::Leave;
use self::conversation::Conversation;
pub use self::error::AcpError;
use self::files::Files;
use self::life::{Life, Opening, Parts};
use self::terminals::Terminals;
pub use self::timeline::Entry;
use self::timeline::Timeline;
use super::history::{History, Saved, Saver};
use super::launch::{Launch, SpawnError};
use super::live::{Ended, Projection, Reply, SendError};
use super::teller::Teller;
use crate::domain::{AgentId, AgentStatus, AgentType, ApprovalId, EventId, Fence, Message, UserId};

/// Requests to one agent that may wait until it looks at them, which it does at once.
const COMMANDS: usize = 32;
/// How long a message may take to be stored before whoever sent it is told that it is sent.
const STORED: Duration = Duration::from_secs(5);
/// The keys that cancel what the agent works on: Escape and Ctrl-C.
const CANCEL_KEYS: [&str; 2] = ["\x1b", "\x03"];

/// What an agent that speaks the protocol is started with.
#[derive(Debug, Clone)]
pub struct AcpOptions {
    /// Its id.
    pub id: AgentId,
    /// Which coding agent it is.
    pub agent_type: AgentType,
    /// The program.
    pub launch: Launch,
    /// The folder that its files are in.
    pub workspace: PathBuf,
    /// A first user message.
    pub initial_prompt: Option<String>,
    /// What was said in an earlier life of this agent.
    pub history: Vec<Message>,
    /// The next entry of its timeline.
    pub next_entry: i64,
    /// The session of an earlier life, to go on with.
    pub session: Option<String>,
    /// Which life of the agent this is.
    pub life: Fence,
    /// What becomes of its requests for leave.
    pub leave: Leave,
}

/// What a handle asks of its agent.
enum Command {
    User { text: Arc<str>, reply: Reply<u64> },
    Cancel,
    Approval { id: ApprovalId, option: String, user: UserId, reply: Reply<bool> },
    Stop { grace: Duration },
}

/// What a handle has of such an agent, beside what all have. When it is dropped, the agent is stopped.
pub(super) struct Acp {
    commands: mpsc::Sender<Command>,
    opening: watch::Receiver<Opening>,
    saved: Saved,
    timeline: Saved,
}

impl Acp {
    /// Starts an agent. Returns what is to be seen of it as well.
    pub(super) fn start(
        options: AcpOptions,
        (messages, entries): (impl History, impl History<Entry>),
        ended: watch::Sender<Option<Ended>>,
        tasks: &TaskTracker,
    ) -> Result<(Self, Arc<Projection>), SpawnError> {
        let prompt = super::live::initial_prompt(options.initial_prompt.as_deref())?;
        let spawned = actor::spawn(&options.launch)?;
        let AcpOptions { id, launch, workspace, history: mut said, life, .. } = options;
        let mut event = EventId::before(life);
        // Of what was told last in an earlier life, some may never have been stored: it is told again.
        if let Some(last) = said.last_mut() {
            event = event.next();
            last.event = event;
        }
        event = event.next();
        let (messages, saved) = Saver::start(messages, tasks);
        let (entries, timeline) = Saver::start(entries, tasks);
        let projection = Arc::new(Projection::new(said.clone(), AgentStatus::Running, event));
        let teller = Teller::new(Arc::clone(&projection), event, (messages, saved.clone()));
        let (approvals, overdue) = Approvals::new(id, options.leave, tasks.clone());
        let files = Files::new(&workspace, &launch.directory);
        let work = launch.directory.clone();
        let (commands, inbox) = mpsc::channel(COMMANDS);
        let (opening, opened) = watch::channel(None);
        let life = Life::new(Parts {
            conversation: Conversation::new(teller, &said),
            timeline: Timeline::new(entries, options.next_entry, EventId::before(life)),
            approvals,
            terminals: Terminals::new(launch, files.clone(), tasks.clone()),
            files,
            tasks: tasks.clone(),
            opening,
            prompt,
            timeline_saved: timeline.clone(),
        });
        let session = options.session;
        let beginning = Beginning { spawned, life, work, session, saved: saved.clone(), commands: inbox, overdue };
        let lives = async move {
            let end = actor::live(beginning).await;
            ended.send_replace(Some(end));
        };
        tasks.spawn(lives.instrument(tracing::info_span!("acp_agent", agent.id = %id)));
        Ok((Self { commands, opening: opened, saved, timeline }, projection))
    }

    /// Waits until a session is open. Returns its id.
    pub(super) async fn opened(&self) -> Result<Arc<str>, AcpError> {
        let mut opening = self.opening.clone();
        let known = opening.wait_for(Option::is_some).await.ok().and_then(|opening| opening.clone());
        known.unwrap_or_else(|| Err(AcpError::Ended(String::new())))
    }

    /// Says something to the agent; returns once it is sent, and stored or has had the time for that.
    pub(super) async fn send_user(&self, text: &str) -> Result<(), SendError> {
        let text = Arc::from(text);
        let stored_at = self.ask(|reply| Command::User { text, reply }).await?;
        let mut saved = self.saved.clone();
        let stored = saved.wait_for(|number| *number >= stored_at);
        if !matches!(tokio::time::timeout(STORED, stored).await, Ok(Ok(_))) {
            tracing::warn!("a user message was sent before it could be stored");
        }
        Ok(())
    }

    /// Keys that cancel what the agent works on do; it takes no others.
    pub(super) async fn send_raw(&self, keys: &str) -> Result<(), SendError> {
        if !CANCEL_KEYS.contains(&keys) {
            return Err(SendError::NoKeys);
        }
        self.commands.send(Command::Cancel).await.map_err(|_| SendError::Ended)
    }

    /// A user answered what the agent asked leave for, and that is written. Returns whether the agent still waited for it.
    pub(super) async fn approve(&self, id: ApprovalId, option: String, user: UserId) -> Result<bool, SendError> {
        self.ask(|reply| Command::Approval { id, option, user, reply }).await
    }

    /// How far its timeline is stored.
    pub(super) fn timeline(&self) -> Saved {
        self.timeline.clone()
    }

    /// Asks the program to end.
    pub(super) async fn stop(&self, grace: Duration) {
        let _ended_already = self.commands.send(Command::Stop { grace }).await;
    }

    async fn ask<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Result<T, SendError> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(reply)).await.map_err(|_| SendError::Ended)?;
        answer.await.unwrap_or(Err(SendError::Ended))
    }
}
