//! Answers that are made once for all who ask at about the same time, so that a flood of questions costs little more than one.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Mutex as TurnMutex, watch};
use tokio::time::{Instant, sleep_until};
use tokio_util::task::TaskTracker;

/// How long an answer is given to others who ask. One is made at most that often.
const FRESH: Duration = Duration::from_secs(1);

/// Shortest time between the beginnings of two answers that are made for those who wait.
const PACE: Duration = Duration::from_millis(100);

/// An answer that takes a while to make: those who ask meanwhile, and within a second after, get the same.
#[derive(Debug)]
pub(super) struct RecentAnswer<T>(Arc<Mutex<State<T>>>);

#[derive(Debug)]
struct State<T> {
    last: Option<(Instant, T)>,
    /// The one that is being made.
    pending: Option<watch::Receiver<Option<T>>>,
}

impl<T> Default for RecentAnswer<T> {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(State { last: None, pending: None })))
    }
}

impl<T: Clone + Send + Sync + 'static> RecentAnswer<T> {
    /// Returns the last answer if it is not older than a second, else the one that is being made, by a task of its own, which goes
    /// on if the caller is dropped. Nothing if making it failed.
    pub(super) async fn get<F>(&self, tasks: &TaskTracker, make: impl FnOnce() -> F) -> Option<T>
    where
        F: Future<Output = T> + Send + 'static,
    {
        let mut pending = {
            let mut state = self.lock();
            if let Some((made, answer)) = &state.last
                && made.elapsed() < FRESH
            {
                return Some(answer.clone());
            }
            match state.pending.as_ref().filter(|pending| pending.has_changed().is_ok()) {
                Some(pending) => pending.clone(),
                None => {
                    let (sender, receiver) = watch::channel(None);
                    state.pending = Some(receiver.clone());
                    let (shared, answer) = (Self(Arc::clone(&self.0)), make());
                    tasks.spawn(async move {
                        let answer = answer.await;
                        *shared.lock() = State { last: Some((Instant::now(), answer.clone())), pending: None };
                        sender.send_replace(Some(answer));
                    });
                    receiver
                }
            }
        };
        pending.wait_for(Option::is_some).await.ok().and_then(|answer| answer.clone())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State<T>> {
        // Whole at every moment.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An answer that takes processor time to make: never older than the question. Those who ask while one is made get the next one
/// together, and between two beginnings there is a pause.
#[derive(Debug, Default)]
pub(super) struct PacedAnswer<T>(TurnMutex<Option<(Instant, T)>>);

impl<T: Clone> PacedAnswer<T> {
    /// Returns an answer that was begun after this question.
    pub(super) async fn get(&self, make: impl FnOnce() -> T) -> T {
        let asked = Instant::now();
        let mut last = self.0.lock().await;
        if let Some((begun, answer)) = &*last {
            if *begun > asked {
                return answer.clone();
            }
            sleep_until(*begun + PACE).await;
        }
        let begun = Instant::now();
        let answer = make();
        *last = Some((begun, answer.clone()));
        answer
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use futures_util::future::join_all;
    use tokio::time::{advance, sleep};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn recent_answer_is_made_once_a_second() {
        let (answer, tasks, made) = (RecentAnswer::default(), TaskTracker::new(), Arc::new(AtomicU32::new(0)));
        let get = || {
            answer.get(&tasks, || {
                let made = Arc::clone(&made);
                async move {
                    sleep(Duration::from_millis(1500)).await;
                    made.fetch_add(1, Ordering::Relaxed) + 1
                }
            })
        };
        assert!(join_all((0..100).map(|_| get())).await.iter().all(|answer| *answer == Some(1)));
        advance(Duration::from_millis(999)).await;
        assert_eq!(get().await, Some(1));
        advance(Duration::from_millis(1)).await;
        assert_eq!(get().await, Some(2));
    }

    #[tokio::test(start_paused = true)]
    async fn recent_answer_is_made_though_whoever_asked_has_gone() {
        let (answer, tasks) = (RecentAnswer::default(), TaskTracker::new());
        let slow = || async {
            sleep(Duration::from_millis(1500)).await;
            7
        };
        let gone = tokio::time::timeout(Duration::from_millis(1400), answer.get(&tasks, slow)).await;
        assert!(gone.is_err());
        let soon = tokio::time::timeout(Duration::from_millis(101), answer.get(&tasks, slow)).await;
        assert_eq!(soon, Ok(Some(7)), "the one that was begun before");
    }

    #[tokio::test(start_paused = true)]
    async fn recent_answer_that_fails_is_made_anew() {
        let (answer, tasks) = (RecentAnswer::default(), TaskTracker::new());
        let failed = answer.get(&tasks, || async { panic!("on purpose") }).await;
        assert_eq!(failed, None::<u32>);
        assert_eq!(answer.get(&tasks, || async { 7 }).await, Some(7));
    }

    #[tokio::test(start_paused = true)]
    async fn paced_answer_is_shared_and_never_older_than_its_question() {
        let (answer, made) = (PacedAnswer::default(), AtomicU32::new(0));
        let get = || answer.get(|| made.fetch_add(1, Ordering::Relaxed) + 1);
        let begun = Instant::now();
        assert_eq!(get().await, 1);
        advance(Duration::from_millis(1)).await;
        assert!(join_all((0..100).map(|_| get())).await.iter().all(|answer| *answer == 2));
        assert_eq!(begun.elapsed(), PACE);
        advance(Duration::from_millis(1)).await;
        assert_eq!(get().await, 3);
        assert_eq!(begun.elapsed(), 2 * PACE);
    }
}
