//! What a server does every now and then, unasked.

use std::time::Duration;

use crate::domain::KeyRing;
use crate::http::App;
use crate::lifecycle::Lifecycle;
use crate::session::Sessions;

/// How often measured times are put into their buckets. Until then each is kept, and nobody may ever ask for the metrics.
const METRICS_UPKEEP: Duration = Duration::from_secs(5);

/// Until the server stops: clears ended sessions once a `cleanup_interval`, and looks then how worn the key is; keeps metrics small.
pub(super) fn begin(app: &App, cleanup_interval: Duration) {
    let (sessions, metrics) = (app.sessions.clone(), app.metrics.clone());
    every(cleanup_interval, &app.lifecycle, move || {
        let sessions = sessions.clone();
        async move {
            prune(&sessions, cleanup_interval).await;
            warn_of_worn_key(sessions.keys());
        }
    });
    every(METRICS_UPKEEP, &app.lifecycle, move || {
        metrics.run_upkeep();
        std::future::ready(())
    });
}

/// Gets to know Redis: its clock, so that no request need ask for it, and its eviction policy. Says once, where Redis tells, that
/// this policy puts sessions at risk; the compose file's `allkeys-lru` is such a one.
pub(super) fn meet_redis(app: &App) {
    let Some(redis) = app.redis.clone() else { return };
    app.lifecycle.tasks().spawn(async move {
        if let Err(error) = redis.ping().await {
            tracing::debug!(%error, "Redis is not there yet");
        }
        match redis.eviction_policy().await {
            Ok(Some(policy)) if policy != "noeviction" => tracing::warn!(
                policy,
                "when its memory is full, this Redis may evict sessions, and so log users out (docs/REDIS_CONFIGURATION.md)"
            ),
            Ok(_) => {}
            Err(error) => tracing::debug!(%error, "the eviction policy of Redis is not known"),
        }
    });
}

/// Does something again and again until the server is asked to stop.
fn every<F: Future<Output = ()> + Send + 'static>(
    interval: Duration,
    lifecycle: &Lifecycle,
    chore: impl Fn() -> F + Send + Sync + 'static,
) {
    let stopping = lifecycle.stopping();
    lifecycle.tasks().spawn(async move {
        while tokio::time::timeout(interval, stopping.cancelled()).await.is_err() {
            tokio::select! {
                () = stopping.cancelled() => return,
                () = chore() => {}
            }
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
