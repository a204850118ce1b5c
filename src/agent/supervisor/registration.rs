//! Whether this server is registered with the others.

use tokio::sync::watch;

/// Whether this server is registered, as far as it knows. Cheap to clone.
///
/// While it is not, its agents are `lost` for the other servers and may be restarted there. Their processes run on here, but no requests
/// reach them and nothing is stored, until Postgres has said which of them still belong to this server.
#[derive(Debug, Clone)]
pub(super) struct Registration(watch::Sender<bool>);

impl Default for Registration {
    fn default() -> Self {
        Self(watch::Sender::new(true))
    }
}

impl Registration {
    pub(super) fn is_registered(&self) -> bool {
        *self.0.borrow()
    }

    /// Sets the state. Returns whether it has changed.
    pub(super) fn set(&self, is_registered: bool) -> bool {
        self.0.send_if_modified(|state| std::mem::replace(state, is_registered) != is_registered)
    }

    /// Waits for the state.
    pub(super) async fn until(&self, is_registered: bool) {
        // The sender is `self`, so waiting cannot fail.
        let _ = self.0.subscribe().wait_for(|state| *state == is_registered).await;
    }
}
