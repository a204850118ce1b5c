//! What the two event streams have in common.

use std::convert::Infallible;
use std::time::Duration;

use axum::http::{HeaderName, header};
use axum::response::sse::{Event, KeepAlive};
use axum::response::{IntoResponse, Response, Sse};
use chrono::Utc;
use futures_util::{Stream, StreamExt};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use crate::domain::Whose;
use crate::http::App;
use crate::session::{Claims, SessionError};

/// How often a comment is sent where nothing else is, so that proxies keep the connection open.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// How often a watching session is verified, where this server does not end it itself: a stream outlives its session by no more.
/// Watching is a use, and extends it.
const VERIFY_INTERVAL: Duration = Duration::from_secs(30);

/// Serves `events` until they end, the session does, or the server stops.
pub(super) fn serve(app: App, claims: Claims, events: impl Stream<Item = Event> + Send + 'static) -> Response {
    let stopping = app.lifecycle.stopping();
    let over = async move {
        tokio::select! {
            () = stopping.cancelled() => {}
            () = session_ended(&app, &claims) => {}
        }
    };
    let watching = Watching::new();
    let events = events.take_until(over).map(move |event| {
        let _watching = &watching;
        Ok::<_, Infallible>(event)
    });
    let headers = [(header::CACHE_CONTROL, "no-store"), (HeaderName::from_static("x-accel-buffering"), "no")];
    (headers, Sse::new(events).keep_alive(KeepAlive::new().interval(HEARTBEAT))).into_response()
}

async fn session_ended(app: &App, claims: &Claims) {
    let mut endings = app.sessions.endings();
    loop {
        tokio::select! {
            () = tokio::time::sleep(VERIFY_INTERVAL) => {}
            () = heard_of(&mut endings, claims) => {}
        }
        let now = Utc::now();
        if app.sessions.is_past_end(claims, now) || matches!(app.sessions.verify(claims, now).await, Err(SessionError::Invalid)) {
            return;
        }
    }
}

/// Done once this server has ended sessions of the watching user, or may have.
async fn heard_of(endings: &mut Receiver<Whose>, claims: &Claims) {
    loop {
        match endings.recv().await {
            Ok(whose) if !whose.include(claims.tenant, claims.user) => {}
            Ok(_) | Err(RecvError::Lagged(_)) => return,
            // The server is going: that ends the stream otherwise.
            Err(RecvError::Closed) => std::future::pending().await,
        }
    }
}

/// Counts a stream for as long as it is served.
struct Watching;

impl Watching {
    fn new() -> Self {
        metrics::gauge!("agentapi_event_streams").increment(1);
        Self
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        metrics::gauge!("agentapi_event_streams").decrement(1);
    }
}
