//! What others see of a live agent, without asking it.

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, watch};

use crate::domain::{AgentStatus, Message};

/// Events that a subscriber may be behind: more than ten seconds of an agent that never pauses.
const EVENTS: usize = 256;

/// Something that happened to an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AgentEvent {
    /// A message is new, or has new content; known by its id.
    MessageUpdate(Message),
    /// The agent turned busy or idle.
    StatusChange(AgentStatus),
}

/// Why there are no more events or screens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamEnd {
    /// The agent ended.
    Ended,
    /// The subscriber was too slow and has missed events: it must subscribe again.
    Lagged,
}

/// The state that readers see, and the channel that tells of its changes, under one lock held only to copy pointers.
pub(super) struct Projection(RwLock<State>);

struct State {
    status: AgentStatus,
    messages: Arc<Vec<Message>>,
    events: Option<broadcast::Sender<AgentEvent>>,
}

impl Projection {
    pub(super) fn new(status: AgentStatus, messages: Vec<Message>) -> Self {
        let events = Some(broadcast::Sender::new(EVENTS));
        Self(RwLock::new(State { status, messages: Arc::new(messages), events }))
    }

    pub(super) fn status(&self) -> AgentStatus {
        self.read().status
    }

    pub(super) fn messages(&self) -> Arc<Vec<Message>> {
        Arc::clone(&self.read().messages)
    }

    pub(super) fn subscribe(&self) -> Subscription {
        let state = self.read();
        Subscription {
            messages: Arc::clone(&state.messages),
            status: state.status,
            events: state.events.as_ref().map(broadcast::Sender::subscribe).ok_or(StreamEnd::Ended),
        }
    }

    /// Applies an event and tells of it.
    pub(super) fn publish(&self, event: AgentEvent) {
        let mut state = self.write();
        match &event {
            AgentEvent::StatusChange(status) => state.status = *status,
            AgentEvent::MessageUpdate(message) => {
                let messages = Arc::make_mut(&mut state.messages);
                match messages.iter_mut().rev().find(|known| known.id == message.id) {
                    Some(known) => known.clone_from(message),
                    None => messages.push(message.clone()),
                }
            }
        }
        if let Some(events) = &state.events {
            let _nobody_listens = events.send(event);
        }
    }

    /// Ends every subscription, once it has had all events.
    pub(super) fn close(&self) {
        self.write().events = None;
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The state of an agent at one moment, and everything that happens after it, in order, each once.
#[derive(Debug)]
pub struct Subscription {
    /// Every message so far.
    pub messages: Arc<Vec<Message>>,
    /// The status then.
    pub status: AgentStatus,
    events: Result<broadcast::Receiver<AgentEvent>, StreamEnd>,
}

impl Subscription {
    /// The snapshot as the events that lead to it: all messages in order, then the status.
    pub fn snapshot(&self) -> impl Iterator<Item = AgentEvent> {
        let messages = self.messages.iter().cloned().map(AgentEvent::MessageUpdate);
        messages.chain([AgentEvent::StatusChange(self.status)])
    }

    /// Waits for the next event. Safe to cancel.
    ///
    /// # Errors
    /// [`StreamEnd`], and from then on always: the agent ended, or this subscriber missed something.
    pub async fn next(&mut self) -> Result<AgentEvent, StreamEnd> {
        let end = match &mut self.events {
            Ok(events) => match events.recv().await {
                Ok(event) => return Ok(event),
                Err(RecvError::Closed) => StreamEnd::Ended,
                Err(RecvError::Lagged(_)) => StreamEnd::Lagged,
            },
            Err(end) => *end,
        };
        self.events = Err(end);
        Err(end)
    }
}

/// The screen of an agent and its changes. A slow viewer skips screens, and is never behind.
#[derive(Debug)]
pub struct ScreenSubscription {
    /// The screen when it was subscribed to.
    pub screen: Arc<str>,
    changes: watch::Receiver<Arc<str>>,
}

impl ScreenSubscription {
    pub(super) fn new(mut changes: watch::Receiver<Arc<str>>) -> Self {
        let screen = Arc::clone(&changes.borrow_and_update());
        Self { screen, changes }
    }

    /// Waits until the screen shows something else. Safe to cancel.
    ///
    /// # Errors
    /// [`StreamEnd::Ended`] once the agent ended and its last screen was seen.
    pub async fn next(&mut self) -> Result<Arc<str>, StreamEnd> {
        self.changes.changed().await.map_err(|_| StreamEnd::Ended)?;
        Ok(Arc::clone(&self.changes.borrow_and_update()))
    }
}
