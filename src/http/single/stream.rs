//! What the two event streams have in common.

use std::convert::Infallible;
use std::time::Duration;

use axum::http::{HeaderName, header};
use axum::response::sse::{Event, KeepAlive};
use axum::response::{IntoResponse, Response, Sse};
use futures_util::{Stream, StreamExt};

use super::SingleAgent;

/// How often a comment is sent where nothing else is, so that proxies keep the connection open.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// Serves `events` until they end or the server stops.
pub(super) fn serve(app: &SingleAgent, events: impl Stream<Item = Event> + Send + 'static) -> Response {
    let stopping = app.lifecycle.stopping();
    let events = events.map(Ok::<_, Infallible>).take_until(async move { stopping.cancelled().await });
    let headers = [
        (header::CACHE_CONTROL, "no-cache, no-store, must-revalidate"),
        (header::CONNECTION, "keep-alive"),
        (header::EXPIRES, "0"),
        (header::PRAGMA, "no-cache"),
        (HeaderName::from_static("x-accel-buffering"), "no"),
        (HeaderName::from_static("x-proxy-buffering"), "no"),
    ];
    (headers, Sse::new(events).keep_alive(KeepAlive::new().interval(HEARTBEAT))).into_response()
}
