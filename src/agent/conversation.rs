//! The conversation of an agent, as its screen shows it: a state machine without a clock and without I/O.
//!
//! The screen and the time come in; changes of status and messages go out. An agent's message is read off the screen anew at each
//! change, against the screen before the last user message, so it grows in place. Every user message is followed by an agent
//! message of its own, whatever the screen shows: repeated words cannot wedge the conversation.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

use crate::domain::{AgentStatus, AgentType, EventId, Message, MessageRole};

use super::format;

/// A moment on both clocks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Now {
    /// For spans of time.
    pub(super) instant: Instant,
    /// For people.
    pub(super) wall: DateTime<Utc>,
}

impl Now {
    /// This moment.
    pub(super) fn read() -> Self {
        Self { instant: Instant::now(), wall: Utc::now() }
    }
}

/// What came of an input, in the order subscribers see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Change {
    /// The agent turned busy or idle, as this event tells.
    Status(AgentStatus, EventId),
    /// A message is new or has new content.
    Message(Message),
    /// A message will not change unless the agent goes on without being asked: time to store it.
    Settled(Message),
}

/// The agent does not wait for a user message.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Busy;

/// What may become of the last message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Last {
    /// It is of an earlier life and stays as it is.
    Frozen,
    /// It was given out as settled as it is.
    Settled,
    /// It was not.
    Unsettled,
}

/// See the module.
pub(super) struct Conversation {
    agent_type: AgentType,
    quiet_after: Duration,
    messages: Vec<Message>,
    status: AgentStatus,
    /// The last event that was told.
    event: EventId,
    screen: Arc<str>,
    /// The screen that the agent's last message is read against.
    baseline: Arc<str>,
    /// When the screen will have been quiet for long enough; `None` once it has.
    quiet_at: Option<Instant>,
    /// The agent once showed a place to type at.
    ready: bool,
    /// An initial prompt waits to be sent.
    prompt_waits: bool,
    /// When sending began, while a user message is being typed.
    sending_since: Option<DateTime<Utc>>,
    last: Last,
}

impl Conversation {
    /// A conversation that goes on after `history`, with an agent that was just started.
    ///
    /// The start screen becomes an agent's message, unless history ends with one: then only an answer adds to it.
    ///
    /// `before` is the event before the first of this life. What history ends with is told again in it: of what was told last in an
    /// earlier life, some may never have been stored.
    pub(super) fn new(
        agent_type: AgentType,
        mut history: Vec<Message>,
        before: EventId,
        prompt_waits: bool,
        quiet_after: Duration,
        now: Now,
    ) -> Self {
        let mut event = before;
        if let Some(last) = history.last_mut() {
            event = event.next();
            last.event = event;
        }
        let frozen = history.last().is_some_and(|last| last.role == MessageRole::Agent);
        let mut conversation = Self {
            agent_type,
            quiet_after,
            messages: history,
            status: AgentStatus::Running,
            event,
            screen: Arc::from(""),
            baseline: Arc::from(""),
            quiet_at: Some(now.instant + quiet_after),
            ready: false,
            prompt_waits,
            sending_since: None,
            last: Last::Frozen,
        };
        if !frozen {
            conversation.push(MessageRole::Agent, Arc::from(""), now.wall);
        }
        // That it is starting is told as well.
        conversation.next_event();
        conversation
    }

    /// The last event that was told.
    pub(super) fn event(&self) -> EventId {
        self.event
    }

    /// Whether the agent takes a message.
    pub(super) fn status(&self) -> AgentStatus {
        self.status
    }

    /// Everything said, in order.
    pub(super) fn messages(&self) -> &[Message] {
        &self.messages
    }

    /// When [`Self::tick`] is due; `None` while there is nothing to wait for.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.quiet_at
    }

    /// The screen shows something else.
    pub(super) fn screen_changed(&mut self, screen: Arc<str>, now: Now) -> Vec<Change> {
        self.screen = screen;
        self.ready = self.ready || format::is_ready(self.agent_type, &self.screen);
        let mut changes = self.active(now);
        changes.extend(self.read_screen(now));
        changes
    }

    /// The agent does something that is not on the screen, such as to animate the window's title.
    pub(super) fn active(&mut self, now: Now) -> Vec<Change> {
        self.quiet_at = Some(now.instant + self.quiet_after);
        self.settle_status()
    }

    /// Time went by.
    pub(super) fn tick(&mut self, now: Now) -> Vec<Change> {
        if self.quiet_at.is_none_or(|at| at > now.instant) {
            return Vec::new();
        }
        self.quiet_at = None;
        self.ready = self.ready || format::rules(self.agent_type).ready_when_quiet;
        self.settle_status()
    }

    /// Whether the initial prompt is to be sent now.
    pub(super) fn prompt_is_due(&self) -> bool {
        self.prompt_waits && self.is_idle()
    }

    /// A user message is about to be typed; nobody else may send until [`Self::sent`] or [`Self::not_sent`].
    pub(super) fn begin_sending(&mut self, now: Now) -> Result<Vec<Change>, Busy> {
        if self.status != AgentStatus::Stable && !self.prompt_is_due() {
            return Err(Busy);
        }
        self.prompt_waits = false;
        self.sending_since = Some(now.wall);
        let mut changes = self.settled();
        changes.extend(self.settle_status());
        Ok(changes)
    }

    /// The agent took the message `text`, which was typed at the screen `before`.
    pub(super) fn sent(&mut self, text: Arc<str>, before: Arc<str>, now: Now) -> Vec<Change> {
        let since = self.sending_since.take().unwrap_or(now.wall);
        self.baseline = before;
        self.quiet_at = Some(now.instant + self.quiet_after);
        let user = self.push(MessageRole::User, text, since);
        let answer = self.answer();
        let agent = self.push(MessageRole::Agent, answer, now.wall);
        let mut changes = vec![Change::Message(user.clone()), Change::Settled(user), Change::Message(agent)];
        changes.extend(self.settle_status());
        changes
    }

    /// The agent did not take the message. What was typed is taken back, so the screen is read when it next changes.
    pub(super) fn not_sent(&mut self) -> Vec<Change> {
        self.sending_since = None;
        self.settle_status()
    }

    /// The agent is gone: what its last message is now, it stays.
    pub(super) fn ended(&mut self, now: Now) -> Vec<Change> {
        self.sending_since = None;
        let mut changes = self.read_screen(now);
        changes.extend(self.settled());
        changes
    }

    fn is_idle(&self) -> bool {
        self.ready && self.quiet_at.is_none() && self.sending_since.is_none()
    }

    fn settle_status(&mut self) -> Vec<Change> {
        let status = if self.is_idle() && !self.prompt_waits { AgentStatus::Stable } else { AgentStatus::Running };
        if status == self.status {
            return Vec::new();
        }
        self.status = status;
        let mut changes = if status == AgentStatus::Stable { self.settled() } else { Vec::new() };
        changes.push(Change::Status(status, self.next_event()));
        changes
    }

    fn settled(&mut self) -> Vec<Change> {
        if self.last != Last::Unsettled {
            return Vec::new();
        }
        self.last = Last::Settled;
        self.messages.last().cloned().map(Change::Settled).into_iter().collect()
    }

    /// Brings the agent's last message up to what the screen shows; not while the user's typing shows on it.
    fn read_screen(&mut self, now: Now) -> Vec<Change> {
        if self.last == Last::Frozen || self.sending_since.is_some() {
            return Vec::new();
        }
        let content = self.answer();
        let next = self.event.next();
        match self.messages.last_mut() {
            Some(last) if last.role == MessageRole::Agent && last.content != content => {
                last.content = content;
                last.time = now.wall;
                last.event = next;
                self.event = next;
                self.last = Last::Unsettled;
                vec![Change::Message(last.clone())]
            }
            _ => Vec::new(),
        }
    }

    fn next_event(&mut self) -> EventId {
        self.event = self.event.next();
        self.event
    }

    /// What the agent said since the last user message.
    fn answer(&self) -> Arc<str> {
        let asked = self.messages.iter().rev().find(|message| message.role == MessageRole::User);
        let text = format::new_text(self.agent_type, &self.baseline, &self.screen);
        format::agent_message(self.agent_type, &text, asked.map_or("", |message| &message.content)).into()
    }

    fn push(&mut self, role: MessageRole, content: Arc<str>, time: DateTime<Utc>) -> Message {
        let id = self.messages.last().map_or(0, |last| last.id + 1);
        let message = Message { id, role, content, time, event: self.next_event() };
        self.messages.push(message.clone());
        self.last = Last::Unsettled;
        message
    }
}

#[cfg(test)]
mod tests;
