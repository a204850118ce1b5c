//! What a caller showed, to be verified again while an answer lasts.

use std::time::Duration;

use chrono::Utc;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use super::App;
use crate::api_key::{ApiKeyError, Ending, ShownKey};
use crate::domain::Whose;
use crate::session::{Claims, SessionError};

/// How often it is verified, where this server does not hear of its end: a stream outlives it by no more. Watching is a use, and
/// extends a session.
const VERIFY_INTERVAL: Duration = Duration::from_secs(30);

/// What a caller showed, and was let in by.
#[derive(Debug, Clone, Copy)]
pub(super) enum Shown {
    /// The token of a session.
    Session(Claims),
    /// An API key.
    ApiKey(ShownKey),
}

/// Done once it lets nobody in any more.
pub(super) async fn over(app: &App, shown: &Shown) {
    match shown {
        Shown::Session(claims) => session_ended(app, claims).await,
        Shown::ApiKey(key) => api_key_ended(app, key).await,
    }
}

async fn session_ended(app: &App, claims: &Claims) {
    let mut endings = app.sessions.endings();
    loop {
        tokio::select! {
            () = tokio::time::sleep(VERIFY_INTERVAL) => {}
            () = heard_of(&mut endings, |whose: &Whose| whose.include(claims.tenant, claims.user)) => {}
        }
        let now = Utc::now();
        if app.sessions.is_past_end(claims, now) || matches!(app.sessions.verify(claims, now).await, Err(SessionError::Invalid)) {
            return;
        }
    }
}

async fn api_key_ended(app: &App, key: &ShownKey) {
    let mut endings = app.api_keys.endings();
    // Those of all users of the tenant: whose the key is, it does not say.
    let concerns = |ending: &Ending| match ending {
        Ending::Key(id) => *id == key.id,
        Ending::Of(whose) => whose.tenant() == key.tenant,
        Ending::Unheard => true,
    };
    loop {
        tokio::select! {
            () = tokio::time::sleep(VERIFY_INTERVAL) => {}
            () = heard_of(&mut endings, concerns) => {}
        }
        if matches!(app.api_keys.verify(key, Utc::now()).await, Err(ApiKeyError::Invalid)) {
            return;
        }
    }
}

/// Done once this server has heard of an end that concerns the caller, or may have.
async fn heard_of<T: Clone>(endings: &mut Receiver<T>, concerns: impl Fn(&T) -> bool) {
    loop {
        match endings.recv().await {
            Ok(ended) if !concerns(&ended) => {}
            Ok(_) | Err(RecvError::Lagged(_)) => return,
            // The server is going: that ends the stream otherwise.
            Err(RecvError::Closed) => std::future::pending().await,
        }
    }
}
