//! What is made of a program that speaks the protocol: its session, its turns, what it says and does. Everything but the program itself.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use agent_client_protocol::v1::ConnectionTo;
use agent_client_protocol::v1::schema::{
    CancelNotification, ContentBlock, MessageId, PromptRequest, PromptResponse, SessionId, StopReason, TextContent,
};
use agent_client_protocol::{Agent, Error};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::approvals::Approvals;
use super::conversation::Conversation;
use super::files::Files;
use super::opening::{self, How, Opened};
use super::terminals::Terminals;
use super::timeline::Timeline;
use super::{AcpError, bounded};
use crate::agent::history::Saved;
use crate::agent::live::{Reply, SendError};
use crate::domain::{ApprovalId, ApprovalState, TimelineKind, UserId};

/// How long to hold back that the agent is idle while what it did is being stored.
const STORED: Duration = Duration::from_secs(5);

/// Whether a session is open, and which; nothing while that is not known.
pub(super) type Opening = Option<Result<Arc<str>, AcpError>>;

/// What the agent answers.
pub(super) enum Answer {
    Opened(Result<Opened, AcpError>),
    Done(Result<PromptResponse, Error>),
}

/// What happens of itself.
pub(super) enum Own {
    Answer(Box<Answer>),
    Stored,
}

/// See the module.
pub(super) struct Life {
    pub(super) conversation: Conversation,
    pub(super) timeline: Timeline,
    pub(super) approvals: Approvals,
    pub(super) files: Files,
    pub(super) terminals: Terminals,
    pub(super) tasks: TaskTracker,
    pub(super) session: Option<SessionId>,
    /// The message that the agent says, if it gives its messages ids.
    pub(super) message: Option<MessageId>,
    pub(super) opening: watch::Sender<Opening>,
    /// A first message, sent once a session is open.
    pub(super) prompt: Option<Arc<str>>,
    connection: Option<ConnectionTo<Agent>>,
    turn: Option<Turn>,
    /// A turn is over, and its entries are being stored: then, or at this time, the agent is idle.
    idle: Option<Idle>,
    timeline_saved: Saved,
    /// What the agent owes: a session, or the end of the turn.
    awaited: Option<BoxFuture<'static, Answer>>,
}

/// A message that the agent works on.
struct Turn {
    entry: Option<i64>,
    cancelled: bool,
}

/// See [`Life::idle`].
struct Idle {
    /// The number that the store of the timeline reaches first.
    stored_at: u64,
    until: Instant,
}

/// What a life is made of.
pub(super) struct Parts {
    pub(super) conversation: Conversation,
    pub(super) timeline: Timeline,
    pub(super) approvals: Approvals,
    pub(super) files: Files,
    pub(super) terminals: Terminals,
    pub(super) tasks: TaskTracker,
    pub(super) opening: watch::Sender<Opening>,
    pub(super) prompt: Option<Arc<str>>,
    pub(super) timeline_saved: Saved,
}

impl Life {
    pub(super) fn new(parts: Parts) -> Self {
        let Parts { conversation, timeline, approvals, files, terminals, tasks, opening, prompt, timeline_saved } = parts;
        Self {
            conversation,
            timeline,
            approvals,
            files,
            terminals,
            tasks,
            session: None,
            message: None,
            opening,
            prompt,
            connection: None,
            turn: None,
            idle: None,
            timeline_saved,
            awaited: None,
        }
    }

    /// Begins to open a session.
    pub(super) fn open(&mut self, connection: ConnectionTo<Agent>, work: PathBuf, before: Option<String>) {
        self.connection = Some(connection.clone());
        self.awaited = Some(opening::open(connection, work, before).map(Answer::Opened).boxed());
    }

    /// What happens next of itself: the agent gives what it owes, or what it did is stored.
    pub(super) async fn next(&mut self) -> Own {
        let Self { awaited, idle, timeline_saved, .. } = self;
        let answer = async {
            match awaited {
                Some(awaited) => awaited.await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            answer = answer => Own::Answer(Box::new(answer)),
            Ok(()) = timeline_saved.changed(), if idle.is_some() => Own::Stored,
        }
    }

    /// The agent has given what it owed. Returns whether it can be spoken to.
    pub(super) fn answered(&mut self, answer: Answer) -> bool {
        self.awaited = None;
        match answer {
            Answer::Opened(Ok(opened)) => self.opened(opened),
            Answer::Opened(Err(error)) => {
                self.failed(error);
                return false;
            }
            Answer::Done(result) => self.turn_done(result),
        }
        true
    }

    /// No session will be open.
    pub(super) fn failed(&mut self, error: AcpError) {
        self.opening.send_if_modified(|opening| match opening {
            None => {
                // Why is for its user: it may repeat what the program said.
                tracing::info!("an agent cannot be spoken to");
                self.timeline.add(TimelineKind::Session, &json!({"event": "failed", "reason": error.to_string()}));
                *opening = Some(Err(error));
                true
            }
            Some(_) => false,
        });
    }

    fn opened(&mut self, Opened { session, how, agent }: Opened) {
        let mut entry = match how {
            How::New => json!({"event": "new"}),
            How::Loaded => json!({"event": "loaded"}),
            How::NewInsteadOf(why) => json!({"event": "new", "not_loaded": why}),
        };
        entry["session_id"] = Value::from(&*session.0);
        entry["agent"] = agent.map(|agent| json!({"name": agent.name, "version": agent.version})).unwrap_or_default();
        self.timeline.add(TimelineKind::Session, &entry);
        self.opening.send_replace(Some(Ok(Arc::clone(&session.0))));
        self.session = Some(session);
        match self.prompt.take() {
            Some(prompt) => self.prompt(&prompt),
            None => self.conversation.idle(),
        }
    }

    /// A user says something, which is sent unless the agent is busy.
    pub(super) fn user_message(&mut self, text: &Arc<str>, reply: Reply<u64>) {
        let answer = if self.session.is_none() || self.turn.is_some() {
            Err(SendError::Busy)
        } else {
            self.prompt(text);
            Ok(self.conversation.teller.stored_at())
        };
        let _caller_went_away = reply.send(answer);
    }

    fn prompt(&mut self, text: &Arc<str>) {
        let (Some(connection), Some(session)) = (&self.connection, &self.session) else { return };
        let content = vec![ContentBlock::Text(TextContent::new(&**text))];
        let answer = connection.send_request(PromptRequest::new(session.clone(), content)).block_task();
        self.awaited = Some(opening::unless_closed(answer).map(Answer::Done).boxed());
        self.idle = None;
        let message = self.conversation.ask(text);
        let entry = self.timeline.add(TimelineKind::Turn, &json!({"message_id": message, "state": "running"}));
        self.turn = Some(Turn { entry, cancelled: false });
    }

    /// Asks the agent to leave what it works on, once a turn. What it asks leave for is not done.
    pub(super) fn cancel(&mut self) {
        let (Some(connection), Some(session)) = (&self.connection, &self.session) else { return };
        if let Some(turn) = self.turn.as_mut().filter(|turn| !turn.cancelled) {
            turn.cancelled = true;
            let _connection_closed = connection.send_notification(CancelNotification::new(session.clone()));
            self.approvals.settle_all(ApprovalState::Cancelled, &mut self.timeline);
        }
    }

    /// Whether the turn is cancelled, and the agent may not have heard of it yet.
    pub(super) fn is_cancelled(&self) -> bool {
        self.turn.as_ref().is_some_and(|turn| turn.cancelled)
    }

    fn turn_done(&mut self, result: Result<PromptResponse, Error>) {
        let change = match result {
            Ok(done) => json!({"state": "done", "stop_reason": stop_reason(done.stop_reason), "usage": done.usage}),
            Err(error) => {
                let error = opening::said(&error);
                self.conversation.remark(&format!("The agent failed: {error}"));
                json!({"state": "failed", "error": error})
            }
        };
        self.end_turn(change);
        self.idle = Some(Idle { stored_at: self.timeline.stored_at(), until: Instant::now() + STORED });
        self.tell_idle();
    }

    /// Tells that the agent is idle, if that is held back and need not be any longer.
    pub(super) fn tell_idle(&mut self) {
        let saved = *self.timeline_saved.borrow();
        if self.idle.as_ref().is_some_and(|idle| saved >= idle.stored_at || idle.until <= Instant::now()) {
            self.idle = None;
            self.conversation.idle();
        }
        self.conversation.teller.tell_idle();
    }

    /// The agent has ended, and with it what it worked on.
    pub(super) fn ended(&mut self) {
        self.approvals.settle_all(ApprovalState::Expired, &mut self.timeline);
        if self.turn.is_some() {
            self.end_turn(json!({"state": "failed", "error": "the agent ended"}));
        }
    }

    fn end_turn(&mut self, change: Value) {
        // Its end is the last that is told of it.
        self.timeline.store();
        if let Some(entry) = self.turn.take().and_then(|turn| turn.entry) {
            self.timeline.merge(entry, change);
        }
        self.timeline.end_turn();
    }

    /// A user answered what the agent asked leave for. Whether the agent still waited for it is replied.
    pub(super) fn approval(&mut self, id: ApprovalId, option: &str, user: UserId, reply: Reply<bool>) {
        let waited = self.approvals.answer(id, option, user, &mut self.timeline);
        let _caller_went_away = reply.send(Ok(waited));
    }

    /// The next moment at which something is to be done.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let idle = self.idle.as_ref().map(|idle| idle.until);
        [self.conversation.deadline(), self.timeline.deadline(), self.approvals.deadline(), idle].into_iter().flatten().min()
    }

    /// Does what is due.
    pub(super) fn tick(&mut self) {
        self.conversation.tick();
        self.approvals.tick();
        self.tell_idle();
        if self.timeline.deadline().is_some_and(|at| at <= Instant::now()) {
            self.timeline.store();
        }
    }

    /// Stores what is left; whoever watches learns that there is no more.
    pub(super) async fn close(self) {
        let Self { conversation, timeline, .. } = self;
        tokio::join!(conversation.close(), timeline.close());
    }
}

fn stop_reason(reason: StopReason) -> Value {
    bounded::json(&reason)
}
