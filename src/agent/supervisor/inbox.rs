//! What is asked of a live agent, so that none of it is done twice: requests that have a key, and entries of the queue.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::domain::{Asked, IdempotencyKey, Message, MessageRole};

/// Messages that may be expected at once; an agent is given one at a time.
const MAX_EXPECTED: usize = 64;

/// What is asked of one life of an agent.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    /// Told when something is put into the queue.
    pub(super) queued: Notify,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Keys of requests that are being answered.
    under_way: HashSet<IdempotencyKey>,
    /// How messages were asked for that are on their way to the agent, with their text.
    expected: VecDeque<(Arc<str>, Asked)>,
    /// The same of those that are in the conversation, by their ids, until they are stored.
    said: BTreeMap<i64, Asked>,
}

/// The right to answer a request, until it is dropped.
#[derive(Debug)]
pub(super) struct Turn {
    inbox: Arc<Inbox>,
    key: IdempotencyKey,
}

impl Inbox {
    /// The turn of a request with this key, unless another has it.
    pub(super) fn turn(self: &Arc<Self>, key: &IdempotencyKey) -> Option<Turn> {
        let is_first = self.lock().under_way.insert(key.clone());
        is_first.then(|| Turn { inbox: Arc::clone(self), key: key.clone() })
    }

    /// A message with this text is about to be given to the agent.
    pub(super) fn expect(&self, text: &str, asked: &Asked) {
        let mut state = self.lock();
        if state.expected.len() == MAX_EXPECTED {
            state.expected.pop_front();
        }
        state.expected.push_back((text.into(), asked.clone()));
    }

    /// The agent did not take it.
    pub(super) fn give_up(&self, asked: &Asked) {
        self.lock().expected.retain(|(_, expected)| expected != asked);
    }

    /// How these messages, about to be stored, were asked for.
    pub(super) fn asked_for(&self, messages: &[Message]) -> BTreeMap<i64, Asked> {
        let mut state = self.lock();
        for message in messages.iter().filter(|message| message.role == MessageRole::User) {
            let place = state.expected.iter().position(|(text, _)| *text == message.content);
            if let Some((_, asked)) = place.and_then(|place| state.expected.remove(place)) {
                state.said.insert(message.id, asked);
            }
        }
        messages.iter().filter_map(|message| Some((message.id, state.said.get(&message.id)?.clone()))).collect()
    }

    /// These are stored.
    pub(super) fn stored(&self, messages: &[Message]) {
        let mut state = self.lock();
        for message in messages {
            state.said.remove(&message.id);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.inbox.lock().under_way.remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{EventId, Fence, QueuedId};

    fn said(id: i64, content: &str) -> Message {
        let event = EventId::before(Fence::FIRST);
        Message { id, role: MessageRole::User, content: content.into(), time: chrono::Utc::now(), event }
    }

    fn asked() -> Asked {
        Asked { request: None, queued: Some(QueuedId::new()) }
    }

    #[test]
    fn a_key_has_one_turn_at_a_time() {
        let inbox = Arc::new(Inbox::default());
        let key: IdempotencyKey = "k".parse().expect("fits");
        let turn = inbox.turn(&key).expect("free");
        assert!(inbox.turn(&key).is_none());
        drop(turn);
        assert!(inbox.turn(&key).is_some());
    }

    #[test]
    fn a_message_is_stored_with_how_it_was_asked_for_also_at_the_second_attempt() {
        let (inbox, first, second) = (Inbox::default(), asked(), asked());
        inbox.expect("same", &first);
        inbox.expect("same", &second);
        let messages = [said(1, "same"), said(3, "other"), said(5, "same")];
        for _ in 0..2 {
            assert_eq!(inbox.asked_for(&messages), BTreeMap::from([(1, first.clone()), (5, second.clone())]));
        }
        inbox.stored(&messages);
        assert_eq!(inbox.asked_for(&messages), BTreeMap::new());
    }

    #[test]
    fn what_the_agent_did_not_take_is_not_expected_any_more() {
        let (inbox, asked) = (Inbox::default(), asked());
        inbox.expect("x", &asked);
        inbox.give_up(&asked);
        assert_eq!(inbox.asked_for(&[said(1, "x")]), BTreeMap::new());
    }
}
