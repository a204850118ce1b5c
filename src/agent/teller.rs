//! Telling those who watch an agent that is not read from a screen, and storing what was said.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::history::{Saved, Saver};
use super::live::Projection;
use crate::domain::{AgentStatus, EventId, Message, MessageRole};

/// How long to hold back that the agent is idle while what it said is being stored.
const STORED: Duration = Duration::from_secs(5);

/// Gives each event its id, and has messages stored once they settle.
pub(in crate::agent) struct Teller {
    projection: Arc<Projection>,
    event: EventId,
    status: AgentStatus,
    saver: Saver,
    progress: Saved,
    /// Told, and not given to the store: they may still grow.
    growing: BTreeMap<i64, Message>,
    /// Until when to hold back that the agent is idle.
    held_idle: Option<Instant>,
}

impl Teller {
    /// Goes on after the event `last`.
    pub(in crate::agent) fn new(projection: Arc<Projection>, last: EventId, (saver, progress): (Saver, Saved)) -> Self {
        let status = projection.status();
        Self { projection, event: last, status, saver, progress, growing: BTreeMap::new(), held_idle: None }
    }

    /// Tells that a message is new, or has changed. What comes before it has settled.
    pub(in crate::agent) fn message(&mut self, message: Message) {
        self.event = self.event.next();
        let message = Message { event: self.event, ..message };
        let later = self.growing.split_off(&message.id);
        self.store();
        self.growing = later;
        self.growing.insert(message.id, message.clone());
        if message.role == MessageRole::User || self.growing.len() > 1 {
            self.store();
        }
        self.projection.tell_message(message);
    }

    /// Tells whether the agent is busy. That it is idle is told once what it said is stored.
    pub(in crate::agent) fn status(&mut self, status: AgentStatus) {
        if status == self.status {
            return;
        }
        self.status = status;
        match status {
            AgentStatus::Stable => {
                self.store();
                self.held_idle = Some(Instant::now() + STORED);
                self.tell_idle();
            }
            // That it was idle for a moment is not worth telling.
            AgentStatus::Running if self.held_idle.take().is_some() => {}
            AgentStatus::Running => self.tell_status(status),
        }
    }

    /// Nothing more will come for a while: what there is, is stored and told.
    pub(in crate::agent) fn settle(&mut self) {
        self.store();
        if self.held_idle.take().is_some() {
            self.tell_status(AgentStatus::Stable);
        }
    }

    /// Until when it is held back that the agent is idle.
    pub(in crate::agent) fn deadline(&self) -> Option<Instant> {
        self.held_idle
    }

    /// How far the store is.
    pub(in crate::agent) fn progress(&self) -> Saved {
        self.progress.clone()
    }

    /// The number that the store reaches once everything that settled so far is stored.
    pub(in crate::agent) fn stored_at(&self) -> u64 {
        self.saver.latest()
    }

    /// Tells that the agent is idle, if that is held back and need not be any longer.
    pub(in crate::agent) fn tell_idle(&mut self) {
        let is_stored = *self.progress.borrow() >= self.saver.latest();
        if self.held_idle.is_some_and(|until| is_stored || until <= Instant::now()) {
            self.held_idle = None;
            self.tell_status(AgentStatus::Stable);
        }
    }

    /// Stores what is left; whoever watches learns that there is no more.
    pub(in crate::agent) async fn close(mut self) {
        self.settle();
        self.projection.close();
        self.saver.close().await;
    }

    fn store(&mut self) {
        for (_, message) in std::mem::take(&mut self.growing) {
            self.saver.save(message);
        }
    }

    fn tell_status(&mut self, status: AgentStatus) {
        self.event = self.event.next();
        self.projection.tell_status(status, self.event);
    }
}
