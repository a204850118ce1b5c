//! The conversation of an agent, as its screen shows it: a state machine without a clock and without I/O.
//!
//! The screen and the time come in; changes of status and messages go out. An agent's message is read off the screen anew at each
//! change, against the screen before the last user message, so it grows in place. Every user message is followed by an agent
//! message of its own, whatever the screen shows: repeated words cannot wedge the conversation.

mod signs;

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

use crate::domain::{AgentStatus, AgentType, EventId, Message, MessageRole};

use super::format;

use self::signs::Signs;

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
    /// The agent asks its user something, or does not any more.
    Asks(bool),
    /// A message is new or has new content.
    Message(Message),
    /// A message will not change unless the agent goes on without being asked: time to store it.
    Settled(Message),
}

/// Why the agent takes no user message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It works.
    Busy,
    /// It waits for the answer to a question. What is typed at it would choose one.
    Asks,
}

/// How long what is seen must last before it counts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// A screen that does not change.
    pub(super) quiet: Duration,
    /// A sign that the agent waits: its window title, answers to choose from.
    pub(super) sign: Duration,
}

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
    patience: Patience,
    messages: Vec<Message>,
    status: AgentStatus,
    /// The last event that was told.
    event: EventId,
    /// The screen, below what scrolled off it since the last user message.
    shown: Arc<str>,
    /// The screen that the agent's last message is read against.
    baseline: Arc<str>,
    /// When the screen will have been quiet for long enough; `None` once it has.
    quiet_at: Option<Instant>,
    signs: Signs,
    /// It was told that the agent asks something.
    told_asking: bool,
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
        patience: Patience,
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
            patience,
            messages: history,
            status: AgentStatus::Running,
            event,
            shown: Arc::from(""),
            baseline: Arc::from(""),
            quiet_at: Some(now.instant + patience.quiet),
            signs: Signs::default(),
            told_asking: false,
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
        self.quiet_at.into_iter().chain(self.signs.deadline()).min()
    }

    /// The `screen` shows something else. `shown` is the screen below what scrolled off it since the last user message.
    pub(super) fn screen_changed(&mut self, screen: &str, shown: Arc<str>, now: Now) -> Vec<Change> {
        self.shown = shown;
        self.ready = self.ready || format::is_ready(self.agent_type, screen);
        self.signs.screen(format::question(self.agent_type, screen), now.instant, self.patience.sign);
        self.quiet_at = Some(now.instant + self.patience.quiet);
        let mut changes = self.settle_status();
        changes.extend(self.read_screen(now));
        changes
    }

    /// The window has another title.
    pub(super) fn title_changed(&mut self, title: &str, now: Now) -> Vec<Change> {
        let says = format::activity(self.agent_type, title);
        let is_new = self.signs.title(says, now.instant, self.patience.sign);
        if !is_new && says.is_some() {
            // It is animated.
            return Vec::new();
        }
        self.quiet_at = Some(now.instant + self.patience.quiet);
        self.settle_status()
    }

    /// Time went by.
    pub(super) fn tick(&mut self, now: Now) -> Vec<Change> {
        if self.quiet_at.is_some_and(|at| at <= now.instant) {
            self.quiet_at = None;
            self.ready = self.ready || format::rules(self.agent_type).ready_when_quiet;
        }
        self.signs.tick(now.instant);
        self.settle_status()
    }

    /// Whether the initial prompt is to be sent now.
    pub(super) fn prompt_is_due(&self) -> bool {
        self.prompt_waits && self.ready && self.is_idle() && !self.asks()
    }

    /// A user message is about to be typed; nobody else may send until [`Self::sent`] or [`Self::not_sent`].
    pub(super) fn begin_sending(&mut self, now: Now) -> Result<Vec<Change>, Refusal> {
        if self.status != AgentStatus::Stable && !self.prompt_is_due() {
            return Err(Refusal::Busy);
        }
        if self.asks() {
            return Err(Refusal::Asks);
        }
        self.prompt_waits = false;
        self.sending_since = Some(now.wall);
        self.signs.given_work();
        let mut changes = self.settled();
        changes.extend(self.settle_status());
        Ok(changes)
    }

    /// The agent took the message `text`, which was typed at the screen `before`. `shown` is the screen below what scrolled off it
    /// since.
    pub(super) fn sent(&mut self, text: Arc<str>, before: Arc<str>, shown: Arc<str>, now: Now) -> Vec<Change> {
        let since = self.sending_since.take().unwrap_or(now.wall);
        self.baseline = before;
        self.shown = shown;
        self.quiet_at = Some(now.instant + self.patience.quiet);
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

    /// Whether the agent waits for its user: for a message, or for an answer.
    fn is_idle(&self) -> bool {
        let waits = self.signs.tell_waiting() || self.quiet_at.is_none() && !self.signs.is_busy();
        waits && (self.ready || self.asks()) && self.sending_since.is_none()
    }

    fn asks(&self) -> bool {
        self.signs.asks()
    }

    fn settle_status(&mut self) -> Vec<Change> {
        let is_idle = self.is_idle() && (self.asks() || !self.prompt_waits);
        let asks = is_idle && self.asks();
        let is_news = std::mem::replace(&mut self.told_asking, asks) != asks;
        let mut changes = Vec::new();
        // An agent that asks is at no moment told to be one that takes messages: that it asks comes first, that it no longer does last.
        if is_news && asks {
            changes.push(Change::Asks(true));
        }
        let status = if is_idle { AgentStatus::Stable } else { AgentStatus::Running };
        if status != self.status {
            self.status = status;
            if status == AgentStatus::Stable {
                changes.extend(self.settled());
            }
            changes.push(Change::Status(status, self.next_event()));
        }
        if is_news && !asks {
            changes.push(Change::Asks(false));
        }
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
        let text = format::new_text(self.agent_type, &self.baseline, &self.shown);
        format::agent_message(self.agent_type, text, asked.map_or("", |message| &message.content)).into()
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
mod recording_tests;
#[cfg(test)]
mod tests;
