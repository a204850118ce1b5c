//! An agent that another server runs, which speaks the `AgentAPI` protocol.
//!
//! ```text
//! its server -> events -> sse (bytes to events) -> wire (events to updates) -> mirror (what is new) -> teller -> projection, history
//! a message, a file -> client -> outbound (circuit breaker, guarded addresses) -> its server
//! ```
//!
//! One task, the [`Follower`], holds the stream of events open, and connects again when it breaks off. Silence is no fault: servers need
//! not say anything while nothing happens. Whether the other end is there is TCP's to find out.

mod answer;
mod back_off;
mod client;
mod error;
mod follower;
mod form;
mod mirror;
mod pace;
mod screens;
mod sse;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::{Instant, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use self::client::{Client, MessageType};
pub use self::error::RemoteError;
use self::follower::Follower;
use self::mirror::Mirror;
pub(crate) use self::sse::{Parser as EventParser, Sent};
use super::history::{History, Saver};
use super::live::{AgentEvent, Ended, Projection, ScreenSubscription, SendError, Subscription};
use super::teller::Teller;
use crate::domain::{AgentId, AgentStatus, AgentType, EventId, Fence, Message, MessageRole, RemoteUrl};
use crate::outbound::Outbound;

/// Longest wait for the first word of a remote agent.
const FIRST_WORD: Duration = Duration::from_secs(15);

/// Longest wait until a message that was taken is told of: coder/agentapi shows it some seconds after it was sent.
const SHOWN: Duration = Duration::from_secs(3);

/// People who may watch the screen of one remote agent at once: each has a stream of their own from its server.
const MAX_VIEWERS: usize = 16;

/// What is needed to attach to a remote agent.
#[derive(Debug, Clone)]
pub struct AttachOptions {
    /// Our id of it, by which its failures are counted.
    pub id: AgentId,
    /// Which coding agent it is, as whoever attaches says.
    pub agent_type: AgentType,
    /// Where it is.
    pub url: RemoteUrl,
    /// What its server asks for, if it does.
    pub token: Option<SecretString>,
    /// What was said so far, as it is kept here.
    pub history: Vec<Message>,
    /// Which life of the agent this is: attaching again begins another.
    pub life: Fence,
}

/// What is known of a remote agent has stopped coming.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreachable {
    /// Why.
    pub why: RemoteError,
    /// How long until it is tried again.
    pub retry_after: Duration,
}

/// Whether the stream of events tells what happens.
#[derive(Debug, Clone)]
enum Link {
    Connecting,
    Up,
    Down { why: RemoteError, retry_at: Instant },
}

/// What a handle has of a remote agent, beside what all have. When it is dropped, the agent is let go.
pub(super) struct Remote {
    client: Arc<Client>,
    link: watch::Receiver<Link>,
    detached: CancellationToken,
    /// Asks the follower to try again now, where it waits.
    wake: Arc<Notify>,
    viewers: Arc<Semaphore>,
    tasks: TaskTracker,
    _let_go: DropGuard,
}

impl Remote {
    /// Begins to follow an agent. Returns what is to be seen of it as well.
    pub(super) fn attach(
        options: AttachOptions,
        outbound: Outbound,
        history: impl History,
        ended: watch::Sender<Option<Ended>>,
        tasks: &TaskTracker,
    ) -> (Self, Arc<Projection>) {
        let AttachOptions { id, url, token, history: mut said, life, .. } = options;
        let mut event = EventId::before(life);
        // Of what was told last in an earlier life, some may never have been stored: it is told again.
        if let Some(last) = said.last_mut() {
            event = event.next();
            last.event = event;
        }
        let mirror = Mirror::new(&said);
        event = event.next();
        let projection = Arc::new(Projection::new(said, AgentStatus::Running, event));
        let teller = Teller::new(projection.clone(), event, Saver::start(history, tasks));
        let client = Arc::new(Client::new(outbound, id, url, token.as_ref()));
        let (link, links) = watch::channel(Link::Connecting);
        let detached = CancellationToken::new();
        let wake = Arc::new(Notify::new());
        let follower = Follower::new(client.clone(), mirror, teller, link, wake.clone());
        let (stop, let_go) = (detached.clone(), detached.clone().drop_guard());
        let follow = async move {
            follower.run(stop).await;
            ended.send_replace(Some(Ended { stopped: true, exit_code: None, signal: None }));
        };
        tasks.spawn(follow.instrument(tracing::info_span!("remote_agent", agent.id = %id)));
        let viewers = Arc::new(Semaphore::new(MAX_VIEWERS));
        (Self { client, link: links, detached, wake, viewers, tasks: tasks.clone(), _let_go: let_go }, projection)
    }

    /// Waits for the first word of the agent, or until it is known that there is none.
    pub(super) async fn attached(&self) -> Result<(), RemoteError> {
        let mut link = self.link.clone();
        let first = link.wait_for(|link| !matches!(link, Link::Connecting));
        match timeout(FIRST_WORD, first).await.map(|link| link.map(|link| link.clone())) {
            Ok(Ok(Link::Up)) => Ok(()),
            Ok(Ok(Link::Down { why, .. })) => Err(why),
            Ok(Ok(Link::Connecting) | Err(_)) | Err(_) => Err(RemoteError::NotAgentApi("it does not tell the agent's status")),
        }
    }

    /// Whether what is known of the agent is how it is.
    pub(super) fn reachable(&self) -> Result<(), Unreachable> {
        match &*self.link.borrow() {
            Link::Up => Ok(()),
            Link::Connecting => Err(Unreachable { why: RemoteError::BrokenOff, retry_after: Duration::ZERO }),
            Link::Down { why, retry_at } => {
                Err(Unreachable { why: why.clone(), retry_after: retry_at.saturating_duration_since(Instant::now()) })
            }
        }
    }

    /// Waits until the agent is reachable. Returns whether it is; otherwise it was let go.
    pub(super) async fn until_reachable(&self) -> bool {
        self.link.clone().wait_for(|link| matches!(link, Link::Up)).await.is_ok()
    }

    /// Says something to the agent; returns once it is told of in `news`, if that is soon.
    pub(super) async fn send_user(&self, text: &str, mut news: Subscription) -> Result<(), SendError> {
        self.check_attached()?;
        self.client.say(MessageType::User, text).await?;
        self.answered();
        let shown = async {
            while let Some(told) = news.next().await {
                if matches!(told.event, AgentEvent::MessageUpdate(message) if message.role == MessageRole::User) {
                    return;
                }
            }
        };
        if timeout(SHOWN, shown).await.is_err() {
            tracing::debug!("a remote agent took a message and does not show it yet");
        }
        Ok(())
    }

    /// Passes keystrokes on.
    pub(super) async fn send_raw(&self, keys: &str) -> Result<(), SendError> {
        self.check_attached()?;
        self.client.say(MessageType::Raw, keys).await?;
        self.answered();
        Ok(())
    }

    /// Passes a file on. Returns its path where the agent is.
    pub(super) async fn upload(&self, name: &str, content: &[u8]) -> Result<String, SendError> {
        self.check_attached()?;
        self.client.upload(name, content).await
    }

    /// Its screens, from its server for as long as somebody watches.
    pub(super) async fn subscribe_screen(&self) -> Result<ScreenSubscription, RemoteError> {
        screens::subscribe(&self.client, &self.viewers, &self.detached, &self.tasks).await
    }

    /// Lets the agent go, which goes on where it is.
    pub(super) fn detach(&self) {
        self.detached.cancel();
    }

    /// Its server is there: the stream need not be waited for any longer, if it broke off.
    fn answered(&self) {
        if self.reachable().is_err() {
            self.wake.notify_one();
        }
    }

    fn check_attached(&self) -> Result<(), SendError> {
        if self.detached.is_cancelled() { Err(SendError::Ended) } else { Ok(()) }
    }
}
