//! Where messages go to be kept.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use crate::domain::Message;

/// A store of messages.
pub trait History: Send + Sync + 'static {
    /// Stores `messages` in one piece; one that is stored already, by its id, is replaced.
    ///
    /// # Errors
    /// [`HistoryError`] if nothing was stored, as far as one can know; it will be tried again.
    fn save(&self, messages: Vec<Message>) -> impl Future<Output = Result<(), HistoryError>> + Send;
}

/// Messages could not be stored.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// This time: it is worth another attempt.
    #[error(transparent)]
    Failed(#[from] Box<dyn std::error::Error + Send + Sync>),
    /// Not yet: it is not written that there is such an agent.
    #[error("the agent is not written yet")]
    NotYet,
    /// Never: this life of the agent is over, and another may have begun.
    #[error("this life of the agent is over")]
    LifeIsOver,
}

/// How long the store is waited for.
#[derive(Debug, Clone, Copy)]
struct Patience {
    /// Longest one attempt may take.
    attempt: Duration,
    /// First pause between attempts; each is twice as long as the one before.
    first_pause: Duration,
    /// Longest pause between attempts.
    longest_pause: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { attempt: Duration::from_secs(5), first_pause: Duration::from_millis(100), longest_pause: Duration::from_secs(10) }
    }
}

/// Attempts once the agent has ended.
const LAST_ATTEMPTS: u32 = 2;

/// Stores messages behind the conversation's back, so that a slow store does not slow the conversation.
///
/// Whatever waits is kept once for each message, in its newest form. Dropping it leaves the last attempts to the tracked task.
pub(super) struct Saver {
    queue: Arc<Queue>,
    task: JoinHandle<()>,
}

/// How far the store is: numbers of [`Saver::save`].
pub(super) type Saved = watch::Receiver<u64>;

#[derive(Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    wake: Notify,
    closed: CancellationToken,
}

#[derive(Default)]
struct Waiting {
    messages: BTreeMap<i64, Message>,
    /// Number of the last message that was put here.
    number: u64,
}

impl Saver {
    /// Starts storing to `history` on a task of `tasks`.
    pub(super) fn start(history: impl History, tasks: &TaskTracker) -> (Self, Saved) {
        Self::start_patient(history, tasks, Patience::default())
    }

    fn start_patient(history: impl History, tasks: &TaskTracker, patience: Patience) -> (Self, Saved) {
        let queue = Arc::new(Queue::default());
        let (saved, progress) = watch::channel(0);
        let store = Store { history, patience, queue: Arc::clone(&queue), saved };
        let task = tasks.spawn(store.run().in_current_span());
        (Self { queue, task }, progress)
    }

    /// Has `message` stored soon; returns a number that [`Saved`] reaches once it is.
    pub(super) fn save(&self, message: Message) -> u64 {
        let mut waiting = self.queue.lock();
        waiting.messages.insert(message.id, message);
        waiting.number += 1;
        self.queue.wake.notify_one();
        waiting.number
    }

    /// The number of the message that was last put here.
    pub(super) fn latest(&self) -> u64 {
        self.queue.lock().number
    }

    /// Stores what waits, within bounded time.
    pub(super) async fn close(mut self) {
        self.queue.closed.cancel();
        if let Err(error) = (&mut self.task).await {
            tracing::error!(%error, "the task that stores messages failed");
        }
    }
}

impl Drop for Saver {
    fn drop(&mut self) {
        self.queue.closed.cancel();
    }
}

impl Queue {
    fn lock(&self) -> std::sync::MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> (Vec<Message>, u64) {
        let mut waiting = self.lock();
        (std::mem::take(&mut waiting.messages).into_values().collect(), waiting.number)
    }

    /// Puts back what could not be stored, unless something newer waits.
    fn put_back(&self, messages: Vec<Message>) {
        let mut waiting = self.lock();
        for message in messages {
            if let Entry::Vacant(vacant) = waiting.messages.entry(message.id) {
                vacant.insert(message);
            }
        }
    }
}

struct Store<H> {
    history: H,
    patience: Patience,
    queue: Arc<Queue>,
    saved: watch::Sender<u64>,
}

impl<H: History> Store<H> {
    async fn run(self) {
        let mut back_off = self.patience.first_pause;
        let mut attempts_left = LAST_ATTEMPTS;
        loop {
            let closed = self.queue.closed.is_cancelled();
            let (messages, number) = self.queue.take();
            if messages.is_empty() {
                if closed {
                    return;
                }
                tokio::select! {
                    () = self.queue.wake.notified() => {}
                    () = self.queue.closed.cancelled() => {}
                }
                continue;
            }
            let Err(error) = self.attempt(&messages).await else {
                self.saved.send_replace(number);
                back_off = self.patience.first_pause;
                continue;
            };
            if matches!(error, HistoryError::LifeIsOver) {
                tracing::warn!(messages = messages.len(), "messages are dropped: this life of the agent is over");
                return;
            }
            let is_early = matches!(error, HistoryError::NotYet);
            if closed {
                attempts_left -= 1;
                if attempts_left == 0 && is_early {
                    tracing::debug!("an agent ended before it was written that there is one");
                    return;
                }
                if attempts_left == 0 {
                    let ids: Vec<i64> = messages.iter().map(|message| message.id).collect();
                    tracing::error!(%error, ?ids, "messages of an ended agent could not be stored and are lost");
                    return;
                }
            } else if !is_early {
                tracing::warn!(%error, messages = messages.len(), "messages could not be stored; will try again");
            }
            self.queue.put_back(messages);
            self.pause(back_off, closed).await;
            back_off = (back_off * 2).min(self.patience.longest_pause);
        }
    }

    async fn attempt(&self, messages: &[Message]) -> Result<(), HistoryError> {
        timeout(self.patience.attempt, self.history.save(messages.to_vec()))
            .await
            .unwrap_or_else(|_| Err(HistoryError::Failed("the store did not answer in time".into())))
    }

    /// Waits before another attempt; the end of the agent cuts it short, once.
    async fn pause(&self, back_off: Duration, closed: bool) {
        if closed {
            tokio::time::sleep(self.patience.first_pause).await;
        } else {
            let _cut = timeout(back_off, self.queue.closed.cancelled()).await;
        }
    }
}

#[cfg(test)]
mod tests;
