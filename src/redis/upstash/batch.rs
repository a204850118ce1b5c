//! What is waiting travels together: one HTTP request carries the commands that were asked for at the same time, in the order
//! in which they were asked for, up to a bound. While all connections are busy, more gathers, and so batches grow with load.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redis::Value;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::task::yield_now;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use super::client::{Body, Client};
use super::connection::Connection;
use super::failure::Failure;

/// Most commands in a batch, so that one caller's answer does not wait for thousands of others. A longer pipeline goes alone.
const MAX_COMMANDS: usize = 128;

/// Most bytes of commands in a batch; Upstash takes 10 MB. What is longer by itself goes alone.
const MAX_BYTES: usize = 1024 * 1024;

/// How commands are to be carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// In order; others' commands may come in between.
    Commands,
    /// All or nothing, and nothing in between.
    Transaction,
}

type Answers = Result<Vec<Value>, Failure>;

/// Commands of one caller.
struct Waiting {
    commands: Vec<String>,
    kind: Kind,
    caller: oneshot::Sender<Answers>,
}

/// Gathers commands and sends them.
pub(super) struct Batcher {
    client: Client,
    waiting: Mutex<VecDeque<Waiting>>,
    /// One permit an HTTP request in flight.
    slots: Arc<Semaphore>,
    sending: TaskTracker,
}

impl Batcher {
    pub(super) fn new(client: Client, max_in_flight: usize) -> Self {
        let slots = Arc::new(Semaphore::new(max_in_flight));
        Self { client, waiting: Mutex::default(), slots, sending: TaskTracker::new() }
    }

    /// Sends commands, encoded, with whatever else is waiting, and returns their answers.
    pub(super) async fn ask(self: &Arc<Self>, commands: Vec<String>, kind: Kind) -> Answers {
        if commands.is_empty() {
            return Ok(Vec::new());
        }
        let (caller, answers) = oneshot::channel();
        self.lock().push_back(Waiting { commands, kind, caller });
        // Futures that are joined with this one have asked too once this task gets its next turn.
        yield_now().await;
        self.send_waiting();
        answers.await.unwrap_or(Err(Failure::Late))
    }

    pub(super) fn discard_idle(&self) {
        self.client.discard_idle();
    }

    fn send_waiting(self: &Arc<Self>) {
        while let Some((batch, slot)) = self.next_batch() {
            let batcher = self.clone();
            self.sending.spawn(async move {
                batcher.send(batch).await;
                drop(slot);
                batcher.send_waiting();
            });
        }
    }

    /// What goes next, and leave to send it, if something is waiting and a connection is free.
    fn next_batch(&self) -> Option<(Vec<Waiting>, OwnedSemaphorePermit)> {
        let mut waiting = self.lock();
        waiting.retain(|one| !one.caller.is_closed());
        if waiting.is_empty() {
            return None;
        }
        // Not before: whoever finds no connection free relies on being seen by the one that is to be freed.
        let slot = self.slots.clone().try_acquire_owned().ok()?;
        let mut batch: Vec<Waiting> = Vec::new();
        let (mut commands, mut bytes) = (0, 0);
        while let Some(next) = waiting.front() {
            commands += next.commands.len();
            bytes += next.commands.iter().map(String::len).sum::<usize>();
            let fits = commands <= MAX_COMMANDS && bytes <= MAX_BYTES && next.kind == Kind::Commands;
            if batch.first().is_some_and(|first| !fits || first.kind == Kind::Transaction) {
                break;
            }
            batch.extend(waiting.pop_front());
        }
        Some((batch, slot))
    }

    async fn send(self: &Arc<Self>, mut batch: Vec<Waiting>) {
        let connection = match self.connection().await {
            Ok(connection) => connection,
            Err(failure) => return fail(batch, &failure),
        };
        // Connecting may have taken longer than somebody cared to wait: what nobody waits for is not done.
        batch.retain(|one| !one.caller.is_closed());
        if batch.is_empty() {
            return self.client.keep(connection);
        }
        match self.client.send(connection, body(&batch)).await {
            Ok(answers) => {
                let mut answers = answers.into_iter();
                for Waiting { commands, caller, .. } in batch {
                    // What is wrong with one caller's answer is no other's. The caller may have given up.
                    let _ = caller.send(answers.by_ref().take(commands.len()).collect());
                }
            }
            Err(failure) => fail(batch, &failure),
        }
    }

    /// A connection, if there is one in the time in which an answer is waited for. Making one goes on beyond it, for others; but it
    /// does not keep them from having one made that may get further.
    async fn connection(self: &Arc<Self>) -> Result<Connection, Failure> {
        timeout(self.client.answer_timeout(), async {
            match self.client.idle().await {
                Some(idle) => Ok(idle),
                None => self.make_connection().await,
            }
        })
        .await
        .unwrap_or(Err(Failure::Late))
    }

    async fn make_connection(self: &Arc<Self>) -> Result<Connection, Failure> {
        let (caller, made) = oneshot::channel();
        let batcher = self.clone();
        self.sending.spawn(async move {
            let made = batcher.client.connect().await;
            if let Err(Ok(unwanted)) = caller.send(made) {
                batcher.client.keep(unwanted);
            }
        });
        made.await.unwrap_or(Err(Failure::Late))
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn fail(batch: Vec<Waiting>, failure: &Failure) {
    for Waiting { caller, .. } in batch {
        let _ = caller.send(Err(failure.clone()));
    }
}

fn body(batch: &[Waiting]) -> Body {
    let commands: Vec<&str> = batch.iter().flat_map(|one| one.commands.iter().map(String::as_str)).collect();
    let transaction = batch.iter().any(|one| one.kind == Kind::Transaction);
    match commands.as_slice() {
        [command] if !transaction => Body { path: "/", json: (*command).to_owned(), answers: None },
        _ => Body {
            path: if transaction { "/multi-exec" } else { "/pipeline" },
            json: format!("[{}]", commands.join(",")),
            answers: Some(commands.len()),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;

    use super::*;
    use crate::redis::upstash::tests::{link, listen};

    /// Rounds in each of which one thread asks for something while another, that has just sent something, looks for more.
    const ROUNDS: usize = 100_000;

    /// Waits until both threads have come here so often.
    fn meet(came: &AtomicUsize, times: usize) {
        came.fetch_add(1, Ordering::SeqCst);
        while came.load(Ordering::SeqCst) < times * 2 {
            thread::yield_now();
        }
    }

    #[tokio::test]
    async fn what_is_asked_for_while_the_only_connection_is_let_go_is_seen_by_somebody() {
        let batcher = link(&listen().await, 1).0;
        let (begun, ended, seen) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
        let look = |round| {
            let found = batcher.next_batch();
            seen.fetch_add(usize::from(found.is_some()), Ordering::SeqCst);
            meet(&ended, round);
        };
        thread::scope(|scope| {
            scope.spawn(|| {
                for round in 1..=ROUNDS {
                    meet(&begun, round);
                    look(round);
                }
            });
            for round in 1..=ROUNDS {
                meet(&begun, round);
                let (caller, answers) = oneshot::channel();
                batcher.lock().push_back(Waiting { commands: vec![String::new()], kind: Kind::Commands, caller });
                look(round);
                drop(answers);
            }
        });
        assert_eq!(seen.into_inner(), ROUNDS);
    }
}
