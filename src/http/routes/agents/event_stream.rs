//! What the two event streams have in common.

use std::convert::Infallible;
use std::time::Duration;

use axum::http::{HeaderName, header};
use axum::response::sse::{Event, KeepAlive};
use axum::response::{IntoResponse, Response, Sse};
use futures_util::{Stream, StreamExt};

use crate::http::App;
use crate::http::shown::{self, Shown};

/// How often a comment is sent where nothing else is, so that proxies keep the connection open.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// Serves `events` until they end, what `shown` stands for does, or the server stops.
pub(super) fn serve(app: App, shown: Shown, events: impl Stream<Item = Event> + Send + 'static) -> Response {
    let stopping = app.lifecycle.stopping();
    let over = async move {
        tokio::select! {
            () = stopping.cancelled() => {}
            () = shown::over(&app, &shown) => {}
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
