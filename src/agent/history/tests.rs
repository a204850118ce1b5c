use tokio::sync::{Semaphore, mpsc};

use super::*;
use crate::domain::{EventId, MessageRole};

const SHORT: Patience = Patience {
    attempt: Duration::from_millis(50),
    first_pause: Duration::from_millis(1),
    longest_pause: Duration::from_millis(4),
};

/// A store that reports each attempt, and fails or waits as told.
struct Scripted {
    attempts: mpsc::UnboundedSender<Vec<(i64, String)>>,
    failures: Mutex<u32>,
    gate: Arc<Semaphore>,
}

impl History for Scripted {
    async fn save(&self, messages: Vec<Message>) -> Result<(), HistoryError> {
        let attempt = messages.iter().map(|message| (message.id, message.content.to_string())).collect();
        self.attempts.send(attempt).unwrap();
        self.gate.acquire().await.unwrap().forget();
        let mut failures = self.failures.lock().unwrap();
        if *failures == 0 {
            return Ok(());
        }
        *failures -= 1;
        Err(HistoryError::Failed("away".into()))
    }
}

struct Scene {
    saver: Saver,
    progress: Saved,
    attempts: mpsc::UnboundedReceiver<Vec<(i64, String)>>,
    gate: Arc<Semaphore>,
}

fn scene(failures: u32, permits: usize, patience: Patience) -> Scene {
    let (sender, attempts) = mpsc::unbounded_channel();
    let gate = Arc::new(Semaphore::new(permits));
    let store = Scripted { attempts: sender, failures: Mutex::new(failures), gate: Arc::clone(&gate) };
    let (saver, progress) = Saver::start_patient(store, &TaskTracker::new(), patience);
    Scene { saver, progress, attempts, gate }
}

fn message(id: i64, content: &str) -> Message {
    Message { id, role: MessageRole::Agent, content: content.into(), time: chrono::Utc::now(), event: EventId::from_i64(0) }
}

fn stored(id: i64, content: &str) -> (i64, String) {
    (id, content.to_owned())
}

#[tokio::test]
async fn what_failed_is_tried_again_with_what_is_newer() {
    let mut scene = scene(2, 0, Patience { attempt: Duration::from_secs(60), ..SHORT });
    scene.saver.save(message(0, "old"));
    assert_eq!(scene.attempts.recv().await.unwrap(), [stored(0, "old")]);
    let newest = scene.saver.save(message(0, "new"));
    let other = scene.saver.save(message(1, "other"));
    scene.gate.add_permits(10);
    let both = [stored(0, "new"), stored(1, "other")];
    assert_eq!(scene.attempts.recv().await.unwrap(), both);
    assert_eq!(*scene.progress.borrow(), 0);
    assert_eq!(scene.attempts.recv().await.unwrap(), both);
    scene.progress.wait_for(|number| *number >= other && *number >= newest).await.unwrap();
    scene.saver.close().await;
    assert!(scene.attempts.recv().await.is_none(), "nothing is stored twice");
}

#[tokio::test]
async fn the_end_of_an_agent_is_bounded_even_if_the_store_hangs() {
    let mut scene = scene(0, 0, SHORT);
    scene.saver.save(message(0, "last words"));
    scene.saver.close().await;
    let mut attempts = 0;
    while scene.attempts.recv().await.is_some() {
        attempts += 1;
    }
    assert!(attempts >= 2, "{attempts}");
}

#[tokio::test]
async fn the_end_cuts_a_long_pause_short() {
    // The pause would outlast the test.
    let day = Duration::from_secs(24 * 60 * 60);
    let mut scene = scene(1, 100, Patience { first_pause: day, longest_pause: day, attempt: day });
    scene.saver.save(message(0, "kept"));
    scene.attempts.recv().await.unwrap();
    scene.saver.close().await;
    assert_eq!(scene.attempts.recv().await.unwrap(), [stored(0, "kept")]);
}

#[tokio::test]
async fn a_dropped_saver_stores_what_waits() {
    let mut scene = scene(0, 100, SHORT);
    scene.saver.save(message(0, "kept"));
    drop(scene.saver);
    assert_eq!(scene.attempts.recv().await.unwrap(), [stored(0, "kept")]);
    assert!(scene.attempts.recv().await.is_none());
}

/// A store whose server is not registered until the gate opens.
struct Deregistered {
    attempts: mpsc::UnboundedSender<usize>,
    gate: watch::Receiver<bool>,
}

impl History for Deregistered {
    async fn save(&self, messages: Vec<Message>) -> Result<(), HistoryError> {
        self.attempts.send(messages.len()).unwrap();
        if *self.gate.borrow() { Ok(()) } else { Err(HistoryError::Suspended) }
    }

    async fn resumed(&self) {
        self.gate.clone().wait_for(|open| *open).await.unwrap();
    }
}

#[tokio::test]
async fn messages_of_a_deregistered_server_wait_even_at_the_end() {
    let (attempts, mut attempted) = mpsc::unbounded_channel();
    let (open, gate) = watch::channel(false);
    let (saver, progress) = Saver::start_patient(Deregistered { attempts, gate }, &TaskTracker::new(), SHORT);
    saver.save(message(0, "first"));
    assert_eq!(attempted.recv().await, Some(1));
    let last = saver.save(message(1, "last words"));
    let mut closing = Box::pin(saver.close());
    for _ in 0..100 {
        tokio::task::yield_now().await;
        assert!(futures_util::poll!(&mut closing).is_pending());
    }
    assert!(attempted.try_recv().is_err(), "no attempt is made in vain");
    open.send(true).unwrap();
    closing.await;
    assert_eq!(attempted.recv().await, Some(2));
    assert_eq!(*progress.borrow(), last);
}
