//! The life of the process: one signal to stop, and every spawned task waited for.

use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Tells everything when to stop, and knows what still runs. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Lifecycle {
    stopping: CancellationToken,
    tasks: TaskTracker,
}

impl Lifecycle {
    /// Done once the server is asked to stop: by [`Lifecycle::stop`], or by SIGINT or SIGTERM after [`Lifecycle::watch_signals`].
    #[must_use]
    pub fn stopping(&self) -> CancellationToken {
        self.stopping.clone()
    }

    /// Whether the server was asked to stop.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.stopping.is_cancelled()
    }

    /// Asks the server to stop.
    pub fn stop(&self) {
        self.stopping.cancel();
    }

    /// Where tasks are spawned, so that [`Lifecycle::drain`] waits for them.
    #[must_use]
    pub const fn tasks(&self) -> &TaskTracker {
        &self.tasks
    }

    /// Stops the server at the first SIGINT or SIGTERM.
    ///
    /// # Errors
    /// If the signals cannot be listened to.
    pub fn watch_signals(&self) -> std::io::Result<()> {
        let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        let stopping = self.stopping.clone();
        self.tasks.spawn(async move {
            let name = tokio::select! {
                _ = interrupt.recv() => "SIGINT",
                _ = terminate.recv() => "SIGTERM",
                () = stopping.cancelled() => return,
            };
            tracing::info!(signal = name, "stopping");
            stopping.cancel();
        });
        Ok(())
    }

    /// Waits for every spawned task, at most `timeout`. Returns whether all ended.
    pub async fn drain(&self, timeout: Duration) -> bool {
        self.tasks.close();
        tokio::time::timeout(timeout, self.tasks.wait()).await.is_ok()
    }
}
