//! What is said in a conversation that is not read from a screen: whole user messages, and answers that come in chunks.

use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use tokio::time::Instant;

use super::bounded::{ELLIPSIS, floor_char_boundary};
use crate::agent::teller::Teller;
use crate::domain::{AgentStatus, EventId, Message, MessageRole};

/// Chunks that come within this time are told of at once, so that a fast answer is not told word by word.
pub(super) const TOLD_EVERY: Duration = Duration::from_millis(40);
/// Longest answer that is kept, in bytes.
const MAX_ANSWER: usize = 1024 * 1024;

/// See the module.
pub(super) struct Conversation {
    pub(super) teller: Teller,
    next_id: i64,
    answer: Option<Answer>,
    /// A message is being answered.
    is_asked: bool,
    /// When chunks that are not told of yet are.
    tell_at: Option<Instant>,
}

struct Answer {
    id: i64,
    text: String,
    is_full: bool,
    /// The agent did something else since its last chunk.
    interrupted: bool,
}

impl Conversation {
    /// Goes on after `history`.
    pub(super) fn new(teller: Teller, history: &[Message]) -> Self {
        let next_id = history.last().map_or(0, |last| last.id + 1);
        Self { teller, next_id, answer: None, is_asked: false, tell_at: None }
    }

    /// A user said something, which the agent is going to answer. Returns the message's id.
    pub(super) fn ask(&mut self, text: &Arc<str>) -> i64 {
        self.end_answer();
        self.is_asked = true;
        self.teller.status(AgentStatus::Running);
        let id = self.take_id();
        self.tell(id, MessageRole::User, Arc::clone(text));
        id
    }

    /// The agent says something more.
    pub(super) fn chunk(&mut self, chunk: &str) {
        let chunk = chunk.replace('\0', "");
        if chunk.is_empty() {
            return;
        }
        let answer = match &mut self.answer {
            Some(answer) => answer,
            None => {
                let id = self.next_id;
                self.next_id += 1;
                self.answer.insert(Answer { id, text: String::new(), is_full: false, interrupted: false })
            }
        };
        answer.push(&chunk);
        self.tell_at.get_or_insert_with(|| Instant::now() + TOLD_EVERY);
    }

    /// The agent does something else: what it says next is another paragraph.
    pub(super) fn interrupt(&mut self) {
        if let Some(answer) = &mut self.answer {
            answer.interrupted = true;
        }
    }

    /// The agent has something to say that is not in the way of its answer.
    pub(super) fn remark(&mut self, text: &str) {
        self.interrupt();
        self.chunk(text);
    }

    /// When [`Self::tick`] has something to do.
    pub(super) fn deadline(&self) -> Option<Instant> {
        [self.tell_at, self.teller.deadline()].into_iter().flatten().min()
    }

    /// Tells what is due.
    pub(super) fn tick(&mut self) {
        if self.tell_at.is_some_and(|at| at <= Instant::now()) {
            self.tell_chunks();
            if !self.is_asked {
                // What it says of its own accord has no end that is told: each piece is a message.
                self.answer = None;
                self.teller.settle();
            }
        }
    }

    /// The agent waits for its user; what it said is stored, then that is told.
    pub(super) fn idle(&mut self) {
        self.end_answer();
        self.is_asked = false;
        self.teller.status(AgentStatus::Stable);
    }

    /// Nothing more is said.
    pub(super) async fn close(mut self) {
        self.end_answer();
        self.teller.close().await;
    }

    fn end_answer(&mut self) {
        self.tell_chunks();
        self.answer = None;
    }

    fn tell_chunks(&mut self) {
        if self.tell_at.take().is_some()
            && let Some(Answer { id, text, .. }) = &self.answer
        {
            let (id, text) = (*id, Arc::from(text.as_str()));
            self.tell(id, MessageRole::Agent, text);
        }
    }

    fn take_id(&mut self) -> i64 {
        self.next_id += 1;
        self.next_id - 1
    }

    fn tell(&mut self, id: i64, role: MessageRole, content: Arc<str>) {
        // The event is the teller's to choose.
        let event = EventId::from_i64(0);
        self.teller.message(Message { id, role, content, time: Utc::now(), event });
    }
}

impl Answer {
    fn push(&mut self, chunk: &str) {
        if self.is_full {
            return;
        }
        if std::mem::take(&mut self.interrupted) {
            let breaks = self.text.len() - self.text.trim_end_matches('\n').len();
            self.text.push_str(&"\n\n"[breaks.min(2)..]);
        }
        let room = MAX_ANSWER.saturating_sub(self.text.len());
        if chunk.len() > room {
            self.is_full = true;
            self.text.push_str(&chunk[..floor_char_boundary(chunk, room)]);
            self.text.push_str(ELLIPSIS);
        } else {
            self.text.push_str(chunk);
        }
    }
}
