//! How long one request waits for Redis in all, however many questions it asks one after the other: a log-in asks four.
//!
//! What counts is the time in which a request waits for Redis, so that one that waits for an agent, or streams for hours, loses
//! nothing of it; questions asked at the same time are waited for once. What is no request's waits as long as a command may take.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Longest that a request waits for Redis in all, unless a single command may take longer: every request is answered within a second,
/// and hashing a password or reading a row takes time too.
const REQUEST: Duration = Duration::from_millis(800);

tokio::task_local! {
    static WAITS: Arc<Mutex<Waits>>;
}

/// What a request has waited.
#[derive(Debug, Default)]
struct Waits {
    /// Until the last time that nothing was waited for.
    before: Duration,
    /// How many questions are waited for.
    questions: u32,
    /// Since when.
    since: Option<Instant>,
}

/// Runs `request` as one request: it waits for Redis no longer than one may.
pub fn of_request<F: Future>(request: F) -> impl Future<Output = F::Output> {
    WAITS.scope(Arc::default(), request)
}

/// Runs `task`, which is to be spawned, on behalf of the request that spawns it, if one does.
pub fn inherited<F: Future>(task: F) -> impl Future<Output = F::Output> {
    let waits = WAITS.try_with(Arc::clone).ok();
    async move {
        match waits {
            Some(waits) => WAITS.scope(waits, task).await,
            None => task.await,
        }
    }
}

/// A question that is waited for, until it is dropped.
#[derive(Debug)]
pub(super) struct Question {
    waits: Option<Arc<Mutex<Waits>>>,
    /// When the request whose question it is has waited long enough.
    pub(super) enough: Option<Instant>,
}

impl Question {
    /// Begins to wait at `now`, where one command may take `command`.
    pub(super) fn begin(now: Instant, command: Duration) -> Self {
        let waits = WAITS.try_with(Arc::clone).ok();
        let enough = waits.as_ref().map(|waits| {
            let mut waits = lock(waits);
            waits.questions += 1;
            let since = *waits.since.get_or_insert(now);
            since + REQUEST.max(command).saturating_sub(waits.before)
        });
        Self { waits, enough }
    }

    fn end(&self, now: Instant) {
        let Some(waits) = &self.waits else { return };
        let mut waits = lock(waits);
        waits.questions -= 1;
        if waits.questions == 0
            && let Some(since) = waits.since.take()
        {
            waits.before += now.saturating_duration_since(since);
        }
    }
}

impl Drop for Question {
    fn drop(&mut self) {
        self.end(Instant::now());
    }
}

/// The state. Nothing panics while it is held.
fn lock(waits: &Mutex<Waits>) -> MutexGuard<'_, Waits> {
    waits.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use tokio::time::sleep;
    use tokio_util::task::TaskTracker;

    use super::*;

    const COMMAND: Duration = Duration::from_millis(500);

    /// Asks a question that is answered after so many milliseconds. Returns how long it would have been waited for.
    async fn ask(millis: u64) -> Option<Duration> {
        let now = Instant::now();
        let question = Question::begin(now, COMMAND);
        sleep(Duration::from_millis(millis)).await;
        question.enough.map(|enough| enough.saturating_duration_since(now))
    }

    const fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[tokio::test(start_paused = true)]
    async fn questions_in_a_row_share_what_a_request_may_wait() {
        of_request(async {
            assert_eq!(ask(300).await, Some(millis(800)));
            // The request does something else.
            sleep(Duration::from_secs(60)).await;
            assert_eq!(ask(450).await, Some(millis(500)));
            assert_eq!(ask(100).await, Some(millis(50)));
            assert_eq!(ask(0).await, Some(millis(0)));
        })
        .await;
        of_request(async { assert_eq!(ask(0).await, Some(millis(800))) }).await;
    }

    #[tokio::test(start_paused = true)]
    async fn questions_at_the_same_time_are_waited_for_once() {
        of_request(async {
            let later = async {
                sleep(Duration::from_millis(100)).await;
                ask(300).await
            };
            assert_eq!(tokio::join!(ask(200), later), (Some(millis(800)), Some(millis(700))));
            assert_eq!(ask(0).await, Some(millis(400)));
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_waits_on_behalf_of_its_request_and_others_of_nobody() {
        let tasks = TaskTracker::new();
        assert_eq!(ask(0).await, None);
        assert_eq!(tasks.spawn(inherited(ask(0))).await.expect("ends"), None);
        of_request(async {
            assert_eq!(tasks.spawn(inherited(ask(300))).await.expect("ends"), Some(millis(800)));
            assert_eq!(tasks.spawn(ask(300)).await.expect("ends"), None);
            assert_eq!(ask(0).await, Some(millis(500)));
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn one_command_may_take_longer_where_the_settings_say_so() {
        let longer = Duration::from_secs(3);
        of_request(async {
            let now = Instant::now();
            assert_eq!(Question::begin(now, longer).enough, Some(now + longer));
        })
        .await;
    }
}
