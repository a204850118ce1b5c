//! `GET /v1/agents/{id}/timeline`

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::sse::Event;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use chrono::{DateTime, Utc};
use futures_util::{StreamExt, stream};
use serde::Serialize;
use utoipa::ToSchema;

use super::event_stream;
use super::events::last_event_id;
use crate::agent::TimelineWatch;
use crate::domain::{AgentId, EventId, Principal, TimelineEntry, TimelineKind, Transport};
use crate::http::App;
use crate::http::extract::{Path, Query, TimelinePage};
use crate::http::problem::{Problem, ProblemBody};
use crate::http::shown::Shown;

/// Something that an agent does beside what it says. It changes until the turn it belongs to is over.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TimelineEntry)]
struct EntryBody {
    /// Place in the timeline, from 0.
    id: i64,
    kind: TimelineKind,
    /// What is known of it: an object that depends on the kind.
    data: serde_json::Value,
    /// When it was begun.
    time: DateTime<Utc>,
}

impl From<TimelineEntry> for EntryBody {
    fn from(entry: TimelineEntry) -> Self {
        Self { id: entry.id, kind: entry.kind, data: entry.data, time: entry.time }
    }
}

/// A page of a timeline.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TimelineResponse {
    items: Vec<EntryBody>,
    /// `after` of the next page; null on the last.
    next: Option<i64>,
}

/// What an ACP agent does beside what it says: its turns, tool calls, plans, thoughts, what it asks leave for, what it uses. In order, also
/// of one that has ended. As a stream (`Accept: text/event-stream`), each entry as it is now and then whenever it changes, by events
/// `timeline_entry`; with the id of the last one in `Last-Event-ID`, it goes on after that.
#[utoipa::path(get, path = "/v1/agents/{id}/timeline", tag = "agents", security(("bearer" = [])),
    params(
        ("id" = uuid::Uuid, Path, description = "The agent"),
        TimelinePage,
        ("last-event-id" = Option<String>, Header, description = "The last event of the stream that was received, to go on after it"),
    ),
    responses(
        (status = 200, description = "A page of the timeline, or a stream of its entries", body = TimelineResponse),
        (status = 204, description = "The agent has ended, and there is nothing more to stream"),
        (status = "default", description = "A problem", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn get_agent_timeline(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Extension(shown): Extension<Shown>,
    Path(id): Path<AgentId>,
    Query(page): Query<TimelinePage>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    if page.stream || wants_events(&headers) {
        let watch = app.agents.watch_timeline(&principal, id, last_event_id(&headers)?).await?;
        return watched(app, shown, &principal, id, watch).await;
    }
    let mut entries = app.agents.timeline(&principal, id, page.after, page.limit.and_one()).await?;
    let next = page.limit.cut(&mut entries, |entry| entry.id);
    Ok(Json(TimelineResponse { items: entries.into_iter().map(EntryBody::from).collect(), next }).into_response())
}

async fn watched(
    app: App,
    shown: Shown,
    principal: &Principal,
    id: AgentId,
    mut watch: TimelineWatch,
) -> Result<Response, Problem> {
    // Browsers reconnect when a stream ends, until the answer is 204.
    if watch.is_over().await? {
        let agent = app.agents.get(principal, id).await?;
        return Ok(match agent.kind.transport() {
            Transport::Acp => event_stream::no_further_events(app, shown, &agent),
            // It has no timeline.
            Transport::Pty | Transport::Remote => StatusCode::NO_CONTENT.into_response(),
        });
    }
    let events = stream::unfold(watch, |mut watch| async move {
        // Where Postgres fails, the stream breaks off: it can be taken up again after its last event.
        let next = watch.next().await.inspect_err(|error| tracing::warn!(%error, "a timeline's stream breaks off"));
        next.ok().flatten().map(|entry| (entry, watch))
    });
    Ok(event_stream::serve(app, shown, events.map(write)))
}

fn wants_events(headers: &HeaderMap) -> bool {
    headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).is_some_and(|accept| accept.contains("text/event-stream"))
}

fn write(entry: TimelineEntry) -> Event {
    let id: EventId = entry.event;
    let event = Event::default().id(id.to_string()).event("timeline_entry");
    event.json_data(EntryBody::from(entry)).expect("plain values always serialise")
}
