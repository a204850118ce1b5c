//! What an agent does beside what it says, written down as it happens.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use chrono::Utc;
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::bounded;
use super::conversation::TOLD_EVERY;
use crate::agent::history::{Kept, Saver};
use crate::domain::{ApprovalState, EventId, NewApproval, TimelineEntry, TimelineKind};

/// Most entries of one agent that are kept.
const MAX_ENTRIES: i64 = 10_000;
/// Most bytes that are kept of one life of an agent.
const MAX_BYTES: usize = 32 * 1024 * 1024;
/// Entries that may still change at once; of more, the oldest do not change any more.
const MAX_OPEN: usize = 256;
/// Longest thought that is kept as one, in bytes.
const MAX_THOUGHT: usize = 32 * 1024;
/// Longest name of a tool call.
const MAX_CALL_ID: usize = 256;

/// An entry to be stored, and the approval that was asked for with it.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The entry.
    pub entry: TimelineEntry,
    /// The approval, and what became of it but for an answer: that is written where it is given.
    pub approval: Option<(Arc<NewApproval>, ApprovalState)>,
}

impl Kept for Entry {
    fn id(&self) -> i64 {
        self.entry.id
    }
}

/// Writes the timeline of one life of an agent.
pub(super) struct Timeline {
    saver: Saver<Entry>,
    event: EventId,
    next_id: i64,
    bytes: usize,
    /// Those that may still change.
    open: BTreeMap<i64, Entry>,
    /// Those of them that have changed since they were stored.
    changed: BTreeSet<i64>,
    store_at: Option<Instant>,
    /// The entries of the turn's tool calls.
    calls: HashMap<String, i64>,
    /// The entries of which there is one a turn, or one a life.
    single: HashMap<&'static str, i64>,
    thought: Option<(i64, String)>,
}

impl Timeline {
    /// Goes on with the entry `next_id`, and after the event `event`.
    pub(super) fn new(saver: Saver<Entry>, next_id: i64, event: EventId) -> Self {
        Self {
            saver,
            event,
            next_id,
            bytes: 0,
            open: BTreeMap::new(),
            changed: BTreeSet::new(),
            store_at: None,
            calls: HashMap::new(),
            single: HashMap::new(),
            thought: None,
        }
    }

    /// Whether it takes no more entries.
    pub(super) const fn is_full(&self) -> bool {
        self.next_id >= MAX_ENTRIES || self.bytes > MAX_BYTES
    }

    /// Writes an entry. Returns its id; nothing if there are too many.
    pub(super) fn add(&mut self, kind: TimelineKind, data: &Value) -> Option<i64> {
        self.insert(kind, data, None)
    }

    /// Writes what the agent asks leave for.
    pub(super) fn add_approval(&mut self, approval: Arc<NewApproval>, data: &Value) -> Option<i64> {
        self.insert(TimelineKind::Approval, data, Some((approval, ApprovalState::Pending)))
    }

    /// Changes an entry that is not closed: puts in the members of `change`.
    pub(super) fn merge(&mut self, id: i64, change: Value) {
        let (Some(Entry { entry, .. }), Value::Object(change)) = (self.open.get_mut(&id), change) else { return };
        let mut members = match entry.data.take() {
            Value::Object(members) => members,
            _ => Map::new(),
        };
        let before = bounded::size(&members);
        members.extend(change);
        entry.data = bounded::json(&members);
        self.bytes += bounded::size(&entry.data).saturating_sub(before);
        self.note_changed(id);
    }

    /// Writes the one entry that there is under `name` in a turn, or in a life: a plan, how much is used. Puts in the members of `data`.
    pub(super) fn put(&mut self, name: &'static str, kind: TimelineKind, data: Value) {
        match self.single.get(name) {
            Some(&id) if self.open.contains_key(&id) => self.merge(id, data),
            _ => {
                if let Some(id) = self.add(kind, &data) {
                    self.single.insert(name, id);
                }
            }
        }
    }

    /// Writes what is known of a tool call, beside what was.
    pub(super) fn tool_call(&mut self, call: &str, data: Value) {
        self.end_thought();
        let call = bounded::text(call, MAX_CALL_ID);
        match self.calls.get(&call) {
            Some(&id) if self.open.contains_key(&id) => self.merge(id, data),
            _ => {
                if let Some(id) = self.add(TimelineKind::ToolCall, &data) {
                    self.calls.insert(call, id);
                }
            }
        }
    }

    /// The agent thinks something more.
    pub(super) fn think(&mut self, chunk: &str) {
        let (id, mut text) = match self.thought.take() {
            Some(thought) if thought.1.len() + chunk.len() <= MAX_THOUGHT => thought,
            _ => match self.add(TimelineKind::Thought, &json!({"text": ""})) {
                Some(id) => (id, String::new()),
                None => return,
            },
        };
        text.push_str(&bounded::text(chunk, MAX_THOUGHT));
        self.merge(id, json!({ "text": text }));
        self.thought = Some((id, text));
    }

    /// The agent has thought it through.
    pub(super) fn end_thought(&mut self) {
        self.thought = None;
    }

    /// A turn is over: nothing of it changes any more.
    pub(super) fn end_turn(&mut self) {
        self.store();
        self.thought = None;
        self.calls.clear();
        // What asks for leave may outlive a turn.
        self.open.retain(|_, entry| entry.approval.is_some() || entry.entry.kind == TimelineKind::Session);
    }

    /// An approval is settled; puts in the members of `change`. It does not change any more.
    pub(super) fn settle_approval(&mut self, id: i64, state: ApprovalState, change: Value) {
        if let Some((_, settled)) = self.open.get_mut(&id).and_then(|entry| entry.approval.as_mut())
            && state != ApprovalState::Answered
        {
            *settled = state;
        }
        self.merge(id, change);
        self.close_entry(id);
    }

    /// An entry does not change any more.
    pub(super) fn close_entry(&mut self, id: i64) {
        self.store();
        self.open.remove(&id);
    }

    /// When [`Self::store`] has something to do.
    pub(super) const fn deadline(&self) -> Option<Instant> {
        self.store_at
    }

    /// Stores what has changed.
    pub(super) fn store(&mut self) {
        self.store_at = None;
        for id in std::mem::take(&mut self.changed) {
            if let Some(entry) = self.open.get_mut(&id) {
                self.event = self.event.next();
                entry.entry.event = self.event;
                self.saver.save(entry.clone());
            }
        }
    }

    /// The number that the store reaches once everything that was stored so far is.
    pub(super) fn stored_at(&self) -> u64 {
        self.saver.latest()
    }

    /// Stores what is left.
    pub(super) async fn close(mut self) {
        self.store();
        self.saver.close().await;
    }

    fn insert(&mut self, kind: TimelineKind, data: &Value, approval: Option<(Arc<NewApproval>, ApprovalState)>) -> Option<i64> {
        if self.is_full() {
            return None;
        }
        let id = self.next_id;
        self.next_id += 1;
        let data = bounded::json(data);
        self.bytes += bounded::size(&data);
        // The last one says that it is.
        let (kind, data, approval) = if self.is_full() {
            (TimelineKind::Session, json!({"event": "timeline_full"}), None)
        } else {
            (kind, data, approval)
        };
        let entry = TimelineEntry { id, kind, data, time: Utc::now(), event: self.event };
        self.open.insert(id, Entry { entry, approval });
        self.note_changed(id);
        if self.open.len() > MAX_OPEN
            && let Some(oldest) = self.open.values().find(|entry| entry.approval.is_none()).map(Kept::id)
        {
            self.close_entry(oldest);
        }
        (!self.is_full()).then_some(id)
    }

    fn note_changed(&mut self, id: i64) {
        self.changed.insert(id);
        self.store_at.get_or_insert_with(|| Instant::now() + TOLD_EVERY);
    }
}
