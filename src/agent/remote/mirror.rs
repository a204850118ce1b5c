//! The conversation of a remote agent as we keep it: what its server tells, told apart from what is known.
//!
//! A server tells all it has whenever we connect, so most of that is known. It may also have been started again since, and have begun
//! another conversation, whose ids are those of the one before. A message is known by its id and its time; where a time differs that
//! cannot, it is another conversation, and is put behind the one that is kept.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};

use crate::domain::{EventId, Message, MessageRole};

use super::wire::Update;

/// Most messages of one agent that are kept.
const MAX_MESSAGES: usize = 10_000;

/// Most bytes that their contents may have together.
const MAX_BYTES: usize = 32 * 1024 * 1024;

/// Greatest id of a message that is believed.
const MAX_ID: i64 = 1 << 40;

/// Postgres keeps microseconds, servers more or less: times this near are the same.
const SAME_TIME: TimeDelta = TimeDelta::milliseconds(1);

/// See the module.
pub(super) struct Mirror {
    /// Everything that was said, by our ids.
    messages: BTreeMap<i64, Message>,
    bytes: usize,
    /// Our id of the first message of the conversation that goes on.
    first: i64,
    /// The server's id of it.
    base: i64,
    /// The server's ids that were told since we connected, and belong to the conversation that goes on.
    heard: BTreeSet<i64>,
    /// How another conversation begins, while it may still turn out to be none: a server that restores its conversation shows its
    /// agent's start screen first.
    opening: BTreeMap<i64, Update>,
    full: bool,
}

impl Mirror {
    /// Goes on after `history`.
    pub(super) fn new(history: &[Message]) -> Self {
        let messages: BTreeMap<i64, Message> = history.iter().map(|message| (message.id, message.clone())).collect();
        let bytes = history.iter().map(|message| message.content.len()).sum();
        Self { messages, bytes, first: 0, base: 0, heard: BTreeSet::new(), opening: BTreeMap::new(), full: false }
    }

    /// We are connected anew.
    pub(super) fn connected(&mut self) {
        self.heard.clear();
        self.opening.clear();
    }

    /// Whether something was heard that would be lost if it were not told again.
    pub(super) fn holds_back(&self) -> bool {
        !self.opening.is_empty()
    }

    /// Takes what the server tells. Returns the messages of ours that are new or changed.
    pub(super) fn hear(&mut self, update: Update) -> Vec<Message> {
        if !(0..=MAX_ID).contains(&update.id) {
            return Vec::new();
        }
        if !self.opening.is_empty() {
            return self.hear_in_doubt(update);
        }
        let id = self.first + (update.id - self.base);
        let is_last = self.messages.last_key_value().is_some_and(|(&last, _)| last == id);
        let is_another = match self.messages.get(&id) {
            _ if id < self.first => self.heard.is_empty(),
            Some(known) => !self.heard.contains(&update.id) && !is_same(known, &update, is_last),
            None => false,
        };
        if is_another && !self.recognise(&update) {
            self.begin_doubt(update);
            return self.settle_doubt();
        }
        if id < self.first && !is_another {
            // Before the first of a conversation that was told from there: no server goes back in time.
            return Vec::new();
        }
        self.keep(update).into_iter().collect()
    }

    /// Adds or changes a message of the conversation that goes on, if it differs.
    fn keep(&mut self, update: Update) -> Option<Message> {
        let id = self.first + (update.id - self.base);
        let known = self.messages.get(&id);
        if known.is_some_and(|known| is_equal(known, &update)) {
            self.heard.insert(update.id);
            return None;
        }
        let before = known.map_or(0, |known| known.content.len());
        let bytes = self.bytes - before + update.content.len();
        if bytes > MAX_BYTES || (known.is_none() && self.messages.len() >= MAX_MESSAGES) {
            if !std::mem::replace(&mut self.full, true) {
                tracing::warn!("a remote agent's conversation has become too long: what is new of it is not kept");
            }
            return None;
        }
        self.bytes = bytes;
        self.heard.insert(update.id);
        let Update { role, content, time, .. } = update;
        // The event is the teller's to choose.
        let event = EventId::from_i64(0);
        let message = Message { id, role, content, time: time.unwrap_or_else(Utc::now), event };
        self.messages.insert(id, message.clone());
        Some(message)
    }

    /// Whether `update` belongs to another conversation that is kept, which goes on then: one of several, of which it is not known
    /// after a restart of ours which is the server's, or one that the server has restored.
    fn recognise(&mut self, update: &Update) -> bool {
        let Some(time) = update.time else { return false };
        let known = self.messages.values().rev().find(|known| known.role == update.role && at_same_time(known, time));
        let Some(id) = known.map(|known| known.id) else { return false };
        // Servers count from 0; one that does not began with this message.
        (self.first, self.base) = if id >= update.id { (id - update.id, 0) } else { (id, update.id) };
        self.heard.clear();
        true
    }

    /// What was told since we connected, and `update`, may be how another conversation begins.
    fn begin_doubt(&mut self, update: Update) {
        for id in std::mem::take(&mut self.heard) {
            if let Some(Message { role, content, time, .. }) = self.messages.get(&(self.first + (id - self.base))).cloned() {
                self.opening.insert(id, Update { id, role, content, time: Some(time) });
            }
        }
        self.opening.insert(update.id, update);
    }

    fn hear_in_doubt(&mut self, update: Update) -> Vec<Message> {
        if self.recognise(&update) {
            self.opening.clear();
            return self.keep(update).into_iter().collect();
        }
        self.opening.insert(update.id, update);
        self.settle_doubt()
    }

    /// Once there is more than one agent's message, another conversation has begun: it is put behind the one before.
    fn settle_doubt(&mut self) -> Vec<Message> {
        if self.opening.len() < 2 && self.opening.values().all(|update| update.role == MessageRole::Agent) {
            return Vec::new();
        }
        let opening = std::mem::take(&mut self.opening);
        self.first = self.messages.last_key_value().map_or(0, |(&last, _)| last + 1);
        self.base = opening.first_key_value().map_or(0, |(&first, _)| first);
        tracing::info!(message.id = self.first, "a remote agent has begun another conversation");
        opening.into_values().filter_map(|update| self.keep(update)).collect()
    }
}

fn at_same_time(known: &Message, time: DateTime<Utc>) -> bool {
    (known.time - time).abs() < SAME_TIME
}

/// Whether nothing differs.
fn is_equal(known: &Message, update: &Update) -> bool {
    known.role == update.role && known.content == update.content && update.time.is_none_or(|time| at_same_time(known, time))
}

/// Whether it is the same message, grown perhaps: only the last one of an agent grows, and its time with it.
fn is_same(known: &Message, update: &Update, is_last: bool) -> bool {
    let may_grow = is_last && known.role == MessageRole::Agent;
    known.role == update.role
        && match update.time {
            Some(time) => at_same_time(known, time) || (may_grow && time > known.time),
            None => known.content == update.content || may_grow,
        }
}

#[cfg(test)]
mod tests;
