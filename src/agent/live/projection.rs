//! What others see of a live agent, without asking it.
//!
//! Watchers are not sent copies: each knows the last event it has, and takes what is newer from the state. One that is slow finds
//! fewer and newer events when it comes back; none is ever behind, and none costs the agent anything.

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use tokio::sync::watch;

use crate::domain::{AgentStatus, EventId, Message};

/// Something that happened to an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AgentEvent {
    /// A message is new, or has new content; known by its id.
    MessageUpdate(Message),
    /// The agent turned busy or idle.
    StatusChange(AgentStatus),
}

/// An event as a watcher is told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// Who has been told so far has everything up to this event.
    pub id: EventId,
    /// What happened.
    pub event: AgentEvent,
}

/// The state that readers see, under a lock held only to copy pointers, and the news that it has changed.
pub(in crate::agent) struct Projection {
    state: RwLock<State>,
    latest: watch::Sender<Latest>,
}

struct State {
    status: AgentStatus,
    status_event: EventId,
    /// The agent waits for the answer to a question, not for a message.
    asks: bool,
    /// In order of their ids.
    messages: Arc<Vec<Message>>,
    /// After this event, those that were told of later come later: none but the last was told of.
    in_order_after: EventId,
}

#[derive(Debug, Clone, Copy)]
struct Latest {
    event: EventId,
    ended: bool,
}

impl Projection {
    /// `event` told of the status, after all `messages`.
    pub(in crate::agent) fn new(messages: Vec<Message>, status: AgentStatus, event: EventId) -> Self {
        let in_order = messages.is_sorted_by_key(|message| message.event);
        let in_order_after = if in_order { EventId::from_i64(0) } else { event };
        let state = State { status, status_event: event, asks: false, messages: Arc::new(messages), in_order_after };
        Self { state: RwLock::new(state), latest: watch::Sender::new(Latest { event, ended: false }) }
    }

    pub(in crate::agent) fn status(&self) -> AgentStatus {
        self.read().status
    }

    pub(super) fn asks(&self) -> bool {
        self.read().asks
    }

    pub(in crate::agent) fn messages(&self) -> Arc<Vec<Message>> {
        Arc::clone(&self.read().messages)
    }

    /// Waits until the agent is idle, and asks nothing. Returns whether it is; otherwise it has ended.
    pub(super) async fn until_idle(&self) -> bool {
        let mut latest = self.latest.subscribe();
        loop {
            let ended = latest.borrow_and_update().ended;
            if ended || self.takes_messages() {
                return !ended;
            }
            // The sender is ours.
            let _ = latest.changed().await;
        }
    }

    fn takes_messages(&self) -> bool {
        let state = self.read();
        state.status == AgentStatus::Stable && !state.asks
    }

    /// Tells that a message is new, or has new content.
    pub(in crate::agent) fn tell_message(&self, message: Message) {
        let event = message.event;
        let mut state = self.write();
        let messages = Arc::make_mut(&mut state.messages);
        let place = messages.binary_search_by_key(&message.id, |message| message.id);
        let is_last = place.map_or_else(|place| place == messages.len(), |place| place + 1 == messages.len());
        match place {
            Ok(place) => messages[place] = message,
            Err(place) => messages.insert(place, message),
        }
        if !is_last {
            state.in_order_after = event;
        }
        drop(state);
        self.latest.send_modify(|latest| latest.event = latest.event.max(event));
    }

    /// Tells that the agent turned busy or idle.
    pub(in crate::agent) fn tell_status(&self, status: AgentStatus, event: EventId) {
        let mut state = self.write();
        (state.status, state.status_event) = (status, event);
        drop(state);
        self.latest.send_modify(|latest| latest.event = latest.event.max(event));
    }

    /// Tells whether the agent waits for the answer to a question. No event tells it: it is told as a part of the status.
    pub(in crate::agent) fn tell_asks(&self, asks: bool) {
        self.write().asks = asks;
        self.latest.send_modify(|_| {});
    }

    /// Ends every subscription, once it has had all events.
    pub(in crate::agent) fn close(&self) {
        self.latest.send_modify(|latest| latest.ended = true);
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Every message in order, then the status, as the protocol begins a stream.
    fn snapshot(&self) -> VecDeque<Told> {
        let latest = self.messages.iter().map(|message| message.event).fold(self.status_event, EventId::max);
        let mut told = Told::in_order(&self.messages, self.status_event.previous());
        told.push_back(Told { id: latest, event: AgentEvent::StatusChange(self.status) });
        told
    }

    /// What happened after `seen`, each thing as it is now, in the order in which it came to be so.
    fn since(&self, seen: EventId) -> VecDeque<Told> {
        let in_order = seen >= self.in_order_after;
        let newest = self.messages.iter().rev().take_while(|message| !in_order || message.event > seen);
        let messages = newest.filter(|message| message.event > seen).map(Told::of);
        let status = Told { id: self.status_event, event: AgentEvent::StatusChange(self.status) };
        let mut told: Vec<Told> = messages.chain((self.status_event > seen).then_some(status)).collect();
        told.sort_unstable_by_key(|told| told.id);
        told.into()
    }
}

impl Told {
    /// What was said, as it is told to somebody who has been told everything up to `seen`: the whole conversation in its order where
    /// that is nothing, and else what is newer.
    #[must_use]
    pub fn again(messages: &[Message], seen: Option<EventId>) -> Vec<Self> {
        let Some(seen) = seen else {
            let latest = messages.iter().map(|message| message.event).max();
            return latest.map(|latest| Self::in_order(messages, latest).into()).unwrap_or_default();
        };
        let mut newer: Vec<Self> = messages.iter().filter(|message| message.event > seen).map(Self::of).collect();
        newer.sort_unstable_by_key(|told| told.id);
        newer
    }

    /// The conversation in its order, where something that is told after it happened after `before_rest`. Who is cut off within it lacks
    /// what comes later in it, though that may have happened earlier: ids say so.
    fn in_order(messages: &[Message], mut before_rest: EventId) -> VecDeque<Self> {
        let mut told = VecDeque::with_capacity(messages.len() + 1);
        for message in messages.iter().rev() {
            told.push_front(Self { id: message.event.min(before_rest), ..Self::of(message) });
            before_rest = before_rest.min(message.event.previous());
        }
        told
    }

    fn of(message: &Message) -> Self {
        Self { id: message.event, event: AgentEvent::MessageUpdate(message.clone()) }
    }
}

/// Everything that happens to an agent after one moment, in order. What happened in quick succession may come as one event.
pub struct Subscription {
    projection: Arc<Projection>,
    latest: watch::Receiver<Latest>,
    /// Everything up to this event was taken from the projection.
    seen: EventId,
    /// Taken, and not handed out yet.
    waiting: VecDeque<Told>,
}

impl Subscription {
    /// Goes on after the event `seen`; from the beginning without it, and where no such event was ever told.
    pub(in crate::agent) fn new(projection: &Arc<Projection>, seen: Option<EventId>) -> Self {
        let mut latest = projection.latest.subscribe();
        let now = latest.borrow_and_update().event;
        let mut subscription = Self { projection: Arc::clone(projection), latest, seen: now, waiting: VecDeque::new() };
        match seen.filter(|seen| *seen <= now) {
            Some(seen) => subscription.seen = seen,
            None => subscription.begin(),
        }
        subscription
    }

    /// What happens from now on.
    pub(in crate::agent) fn from_now(projection: &Arc<Projection>) -> Self {
        let now = projection.latest.borrow().event;
        Self::new(projection, Some(now))
    }

    fn begin(&mut self) {
        self.waiting = self.projection.read().snapshot();
        self.seen = self.waiting.back().map_or(self.seen, |last| last.id);
    }

    /// Waits for the next event; nothing once the agent has ended and everything was told. Safe to cancel.
    pub async fn next(&mut self) -> Option<Told> {
        loop {
            if let Some(told) = self.waiting.pop_front() {
                return Some(told);
            }
            let seen = self.seen;
            // The projection, which holds the sender, is ours.
            let latest = *self.latest.wait_for(|latest| latest.ended || latest.event > seen).await.ok()?;
            self.waiting = self.projection.read().since(self.seen);
            if self.waiting.is_empty() && latest.ended {
                return None;
            }
            self.seen = self.waiting.back().map_or(latest.event, |last| last.id.max(latest.event));
        }
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
    pub(in crate::agent) fn new(mut changes: watch::Receiver<Arc<str>>) -> Self {
        let screen = Arc::clone(&changes.borrow_and_update());
        Self { screen, changes }
    }

    /// Waits until the screen shows something else. Safe to cancel. Nothing once the agent has ended and its last screen was seen.
    pub async fn next(&mut self) -> Option<Arc<str>> {
        self.changes.changed().await.ok()?;
        Some(Arc::clone(&self.changes.borrow_and_update()))
    }
}

#[cfg(test)]
mod tests {
    use chrono::Utc;
    use rand::rngs::StdRng;
    use rand::seq::IndexedRandom;
    use rand::{Rng, SeedableRng};

    use super::*;
    use crate::domain::{Fence, MessageRole};

    fn message(id: i64, content: u32, event: EventId) -> Message {
        let time = Utc::now();
        Message { id, role: MessageRole::Agent, content: content.to_string().into(), time, event }
    }

    /// What a watcher knows who takes `told`, in that order, into what it knows already.
    fn take(known: &mut (Vec<(i64, String)>, Option<AgentStatus>), told: &Told) {
        match &told.event {
            AgentEvent::StatusChange(status) => known.1 = Some(*status),
            AgentEvent::MessageUpdate(message) => {
                known.0.retain(|(id, _)| *id != message.id);
                known.0.push((message.id, message.content.to_string()));
                known.0.sort();
            }
        }
    }

    /// Whatever is changed in whatever order, whoever is cut off after any event and resumes there ends up knowing everything.
    #[test]
    fn who_resumes_after_any_event_lacks_nothing() {
        let mut rng = StdRng::seed_from_u64(11);
        for _ in 0..300 {
            let mut event = EventId::before(Fence::FIRST).next();
            let projection = Projection::new(Vec::new(), AgentStatus::Running, event);
            let mut watchers = vec![(Default::default(), None)];
            for step in 0..30 {
                event = event.next();
                match rng.random_range(0..4) {
                    0 => projection.tell_status(*[AgentStatus::Running, AgentStatus::Stable].choose(&mut rng).unwrap(), event),
                    _ => projection.tell_message(message(rng.random_range(0..6), step, event)),
                }
                // Everybody takes a part of what is told, and is cut off.
                for (known, seen) in &mut watchers {
                    let state = projection.read();
                    let told = match seen {
                        Some(seen) => state.since(*seen),
                        None => state.snapshot(),
                    };
                    let part = rng.random_range(0..=told.len());
                    for told in told.into_iter().take(part) {
                        assert!(seen.is_none_or(|seen| told.id >= seen), "ids go on");
                        take(known, &told);
                        *seen = Some(told.id);
                    }
                }
                watchers.push((Default::default(), None));
            }
            let state = projection.read();
            let mut whole = (Vec::new(), None);
            for told in &state.snapshot() {
                take(&mut whole, told);
            }
            for (mut known, seen) in watchers {
                let told = seen.map_or_else(|| state.snapshot(), |seen| state.since(seen));
                for told in &told {
                    take(&mut known, told);
                }
                assert_eq!(known, whole);
            }
            // The same of what is left once it has ended.
            for seen in Told::again(&state.messages, None).iter().map(|told| told.id) {
                let (mut known, mut left): (Vec<_>, Vec<_>) = (Vec::new(), Vec::new());
                for told in Told::again(&state.messages, None).iter().take_while(|told| told.id <= seen) {
                    known.push(told.event.clone());
                }
                left.extend(Told::again(&state.messages, Some(seen)).into_iter().map(|told| told.event));
                let all = [known, left].concat();
                assert!(Told::again(&state.messages, None).iter().all(|told| all.contains(&told.event)));
            }
        }
    }
}
