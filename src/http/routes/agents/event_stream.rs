//! What the two event streams have in common.

use std::convert::Infallible;
use std::time::Duration;

use axum::http::{HeaderName, StatusCode, header};
use axum::response::sse::{Event, KeepAlive};
use axum::response::{IntoResponse, Response, Sse};
use chrono::{TimeDelta, Utc};
use futures_util::{Stream, StreamExt, stream};

use crate::domain::{Agent, AgentState};
use crate::http::App;
use crate::http::shown::{self, Shown};

/// How often a comment is sent where nothing else is, so that proxies keep the connection open.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// Time for which the streams of a lost agent are not final: its server may only be away.
const MAY_RECOVER: TimeDelta = TimeDelta::minutes(5);

/// Time after which browsers reconnect to the stream of such an agent.
const RECOVERY_RETRY: Duration = Duration::from_secs(5);

/// The answer if there are no further events of an agent that does not run here: 204, after which browsers do not reconnect, or an empty
/// stream, after which they do, if the agent may run again by itself.
pub(super) fn no_further_events(app: App, shown: Shown, agent: &Agent) -> Response {
    if !may_recover(agent) {
        return StatusCode::NO_CONTENT.into_response();
    }
    serve(app, shown, stream::iter([Event::default().retry(RECOVERY_RETRY)]))
}

fn may_recover(agent: &Agent) -> bool {
    match agent.state {
        // It was reclaimed in between.
        AgentState::Running => true,
        AgentState::Lost => agent.ended_at.is_some_and(|lost_at| Utc::now() < lost_at + MAY_RECOVER),
        AgentState::Stopped | AgentState::Exited => false,
    }
}

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
