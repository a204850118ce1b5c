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

/// What is kept of an agent piece by piece: its messages, the entries of its timeline.
pub trait Kept: Clone + Send + Sync + 'static {
    /// Names it among its like.
    fn id(&self) -> i64;
}

impl Kept for Message {
    fn id(&self) -> i64 {
        self.id
    }
}

/// A store of messages, or of what else is kept of an agent.
pub trait History<T: Kept = Message>: Send + Sync + 'static {
    /// Stores `kept` in one piece; one that is stored already, by its id, is replaced.
    ///
    /// # Errors
    /// [`HistoryError`] if nothing was stored, as far as one can know; it will be tried again.
    fn save(&self, kept: Vec<T>) -> impl Future<Output = Result<(), HistoryError>> + Send;

    /// Waits until another attempt can succeed, after [`HistoryError::Suspended`].
    fn resumed(&self) -> impl Future<Output = ()> + Send {
        std::future::ready(())
    }
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
    /// Not now: the server is not registered, and it is not known yet whether the agent still belongs to it.
    #[error("the server is not registered")]
    Suspended,
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
pub(super) struct Saver<T: Kept = Message> {
    queue: Arc<Queue<T>>,
    task: JoinHandle<()>,
}

/// How far the store is: numbers of [`Saver::save`].
pub(super) type Saved = watch::Receiver<u64>;

struct Queue<T> {
    waiting: Mutex<Waiting<T>>,
    wake: Notify,
    closed: CancellationToken,
}

struct Waiting<T> {
    messages: BTreeMap<i64, T>,
    /// Number of the last message that was put here.
    number: u64,
}

impl<T: Kept> Saver<T> {
    /// Starts storing to `history` on a task of `tasks`.
    pub(super) fn start(history: impl History<T>, tasks: &TaskTracker) -> (Self, Saved) {
        Self::start_patient(history, tasks, Patience::default())
    }

    fn start_patient(history: impl History<T>, tasks: &TaskTracker, patience: Patience) -> (Self, Saved) {
        let waiting = Mutex::new(Waiting { messages: BTreeMap::new(), number: 0 });
        let queue = Arc::new(Queue { waiting, wake: Notify::new(), closed: CancellationToken::new() });
        let (saved, progress) = watch::channel(0);
        let store = Store { history, patience, queue: Arc::clone(&queue), saved };
        let task = tasks.spawn(store.run().in_current_span());
        (Self { queue, task }, progress)
    }

    /// Has `message` stored soon; returns a number that [`Saved`] reaches once it is.
    pub(super) fn save(&self, message: T) -> u64 {
        let mut waiting = self.queue.lock();
        waiting.messages.insert(message.id(), message);
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

impl<T: Kept> Drop for Saver<T> {
    fn drop(&mut self) {
        self.queue.closed.cancel();
    }
}

impl<T: Kept> Queue<T> {
    fn lock(&self) -> std::sync::MutexGuard<'_, Waiting<T>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> (Vec<T>, u64) {
        let mut waiting = self.lock();
        (std::mem::take(&mut waiting.messages).into_values().collect(), waiting.number)
    }

    /// Puts back what could not be stored, unless something newer waits.
    fn put_back(&self, messages: Vec<T>) {
        let mut waiting = self.lock();
        for message in messages {
            if let Entry::Vacant(vacant) = waiting.messages.entry(message.id()) {
                vacant.insert(message);
            }
        }
    }
}

struct Store<T, H> {
    history: H,
    patience: Patience,
    queue: Arc<Queue<T>>,
    saved: watch::Sender<u64>,
}

impl<T: Kept, H: History<T>> Store<T, H> {
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
            if matches!(error, HistoryError::Suspended) {
                tracing::debug!(messages = messages.len(), "messages wait: the server is not registered");
                self.queue.put_back(messages);
                self.history.resumed().await;
                // An agent that is still being started is not reclaimed yet: it is suspended again at once.
                self.pause(back_off, closed).await;
                back_off = (back_off * 2).min(self.patience.longest_pause);
                continue;
            }
            let is_early = matches!(error, HistoryError::NotYet);
            if closed {
                attempts_left -= 1;
                if attempts_left == 0 && is_early {
                    tracing::debug!("an agent ended before it was written that there is one");
                    return;
                }
                if attempts_left == 0 {
                    let ids: Vec<i64> = messages.iter().map(Kept::id).collect();
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

    async fn attempt(&self, messages: &[T]) -> Result<(), HistoryError> {
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
