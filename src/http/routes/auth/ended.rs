//! Writing down that sessions were ended, which also tells the other servers.

use std::time::Duration;

use tokio::time::{Instant, timeout};

use crate::domain::{SessionId, TenantScope, UserId};
use crate::http::App;
use crate::postgres::DatabaseError;

/// Waits before it is tried again: the first, and the longest.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(15));

/// Sessions of a user that were ended.
struct Ended {
    scope: TenantScope,
    user: UserId,
    sessions: Vec<SessionId>,
}

/// Writes down that sessions of a user were ended. They have ended, whether or not that can be written: told of a failure, their user would
/// try again, and be told that there is no such session. What Postgres does not take is tried again beside the request.
pub(super) async fn record(app: &App, scope: TenantScope, user: UserId, sessions: Vec<SessionId>) {
    if sessions.is_empty() {
        return;
    }
    let ended = Ended { scope, user, sessions };
    let Err(error) = write(app, &ended).await else { return };
    tracing::error!(
        %error, user.id = %user, sessions = ended.sessions.len(),
        "a session ended, and that is not in the audit log, nor known to other servers; trying again"
    );
    match app.unwritten_endings().clone().try_acquire_owned() {
        Ok(place) => {
            let retrying = app.clone();
            app.lifecycle.tasks().spawn(async move {
                write_later(&retrying, &ended).await;
                drop(place);
            });
        }
        Err(_) => tracing::error!(user.id = %user, "too many ended sessions wait for Postgres: it is not tried again"),
    }
}

async fn write(app: &App, ended: &Ended) -> Result<(), DatabaseError> {
    let users = app.database.users(ended.scope);
    users.record_ended_sessions(ended.user, &ended.sessions, app.sessions.longest_life()).await
}

/// Tries again until it is written, the server stops, or the sessions would be past their end.
async fn write_later(app: &App, ended: &Ended) {
    let (stopping, deadline) = (app.lifecycle.stopping(), Instant::now() + app.sessions.longest_life());
    let (mut wait, longest) = BACK_OFF;
    while Instant::now() < deadline && timeout(wait, stopping.cancelled()).await.is_err() {
        match write(app, ended).await {
            Ok(()) => {
                tracing::info!(user.id = %ended.user, "an ended session is now in the audit log");
                return;
            }
            Err(error) => tracing::debug!(%error, user.id = %ended.user, "an ended session is still not written"),
        }
        wait = (wait * 2).min(longest);
    }
    tracing::error!(user.id = %ended.user, sessions = ?ids(ended), "ended sessions were not written to Postgres");
}

fn ids(ended: &Ended) -> Vec<String> {
    ended.sessions.iter().map(ToString::to_string).collect()
}
