//! What a server does every now and then, unasked.

use std::time::Duration;

use crate::domain::{KeyRing, StoreUnavailable};
use crate::http::App;
use crate::lifecycle::Lifecycle;
use crate::redis::Redis;
use crate::session::Sessions;

/// How often measured times are put into their buckets. Until then each is kept, and nobody may ever ask for the metrics.
const METRICS_UPKEEP: Duration = Duration::from_secs(5);

/// Waits before Redis is tried again that was not there at the start: the first, and the longest.
const MEETING: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(15));

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

/// Gets to know Redis, as soon as it is there: its clock, so that no request need ask for it, and its eviction policy. Says once, where
/// Redis tells, that this policy puts sessions at risk; the compose file's `allkeys-lru` is such a one.
pub(super) fn meet_redis(app: &App) {
    let Some(redis) = app.redis.clone() else { return };
    let stopping = app.lifecycle.stopping();
    app.lifecycle.tasks().spawn(async move {
        let (mut wait, longest) = MEETING;
        loop {
            match policy_at_risk(&redis).await {
                Ok(None) => return,
                Ok(Some(policy)) => {
                    tracing::warn!(
                        policy,
                        "when its memory is full, this Redis may evict sessions, and so log users out (docs/REDIS_CONFIGURATION.md)"
                    );
                    return;
                }
                Err(error) => tracing::debug!(%error, "Redis is not there yet"),
            }
            if tokio::time::timeout(wait, stopping.cancelled()).await.is_ok() {
                return;
            }
            wait = (wait * 2).min(longest);
        }
    });
}

/// The eviction policy of Redis, if by that it may evict sessions.
async fn policy_at_risk(redis: &Redis) -> Result<Option<String>, StoreUnavailable> {
    redis.ping().await?;
    Ok(redis.eviction_policy().await?.filter(|policy| policy != "noeviction"))
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

#[cfg(test)]
mod tests {
    use std::io::{self, Write};
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("not poisoned").write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What is logged of a key that has sealed so many things.
    fn logged(seals: u64) -> String {
        let (log, keys) = (Log::default(), KeyRing::new(&[7; 32]));
        keys.count_seals(seals);
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone()).finish();
        tracing::subscriber::with_default(subscriber, || warn_of_worn_key(&keys));
        String::from_utf8(log.0.lock().expect("not poisoned").clone()).expect("UTF-8")
    }

    #[test]
    fn a_key_that_is_worn_is_warned_of_by_its_id_and_another_is_not() {
        assert_eq!(logged(1_999_999_999), "");
        let (log, id) = (logged(2_000_000_000), KeyRing::new(&[7; 32]).current().to_string());
        assert!(log.contains("WARN") && log.contains("change it") && log.contains(&id), "{log}");
    }
}
