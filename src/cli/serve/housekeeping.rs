//! What a server does every now and then, unasked.

use std::time::Duration;

use crate::domain::KeyRing;
use crate::lifecycle::Lifecycle;
use crate::session::Sessions;

/// Once an `interval`, until the server stops: clears ended sessions, and looks how worn the key is.
pub(super) fn begin(sessions: &Sessions, interval: Duration, lifecycle: &Lifecycle) {
    let (sessions, stopping) = (sessions.clone(), lifecycle.stopping());
    lifecycle.tasks().spawn(async move {
        while tokio::time::timeout(interval, stopping.cancelled()).await.is_err() {
            tokio::select! {
                () = stopping.cancelled() => return,
                () = prune(&sessions, interval) => {}
            }
            warn_of_worn_key(sessions.keys());
        }
    });
}

async fn prune(sessions: &Sessions, interval: Duration) {
    match sessions.prune(interval).await {
        Ok(0) => {}
        Ok(cleared) => tracing::debug!(cleared, "cleared sessions that had ended"),
        Err(error) => tracing::warn!(%error, "ended sessions were not cleared; the next time is soon enough"),
    }
}

fn warn_of_worn_key(keys: &KeyRing) {
    if keys.is_worn() {
        tracing::warn!(
            key.id = %keys.current(),
            seals = keys.seals(),
            "this key has sealed about half of the 2^32 things it may: change it (docs/SECURITY.md)"
        );
    }
}
