//! `GET /v1/agents/{id}/events`

use std::borrow::Cow;

use axum::Extension;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use axum::response::sse::Event;
use chrono::{DateTime, Utc};
use futures_util::{StreamExt, stream};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::event_stream;
use crate::agent::{AgentError, AgentEvent, Told};
use crate::domain::{AgentId, AgentStatus, AgentType, EventId, Message, MessageRole, Principal};
use crate::http::extract::{Path, Query};
use crate::http::problem::{Problem, ProblemBody};
use crate::http::shown::Shown;
use crate::http::{App, event_text};

/// Data of a `message_update` event: a message is new, or has changed.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct MessageUpdate<'a> {
    id: i64,
    role: MessageRole,
    message: Cow<'a, str>,
    time: DateTime<Utc>,
}

/// Data of a `status_change` event.
#[derive(Debug, Serialize, ToSchema)]
struct StatusChange {
    status: AgentStatus,
    agent_type: AgentType,
}

/// How events are told.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct EventsQuery {
    /// Long messages are told whole: without it, one of more than 124 KiB by a note and its end, since clients read lines of bounded size.
    #[serde(default)]
    resume: bool,
}

/// What happens, as it happens: first the conversation so far and the status, then each change. Every event has an id; with that of the
/// last one in `Last-Event-ID`, the stream goes on after it. The stream of an agent that has ended has what was said, and ends.
#[utoipa::path(get, path = "/v1/agents/{id}/events", tag = "agent protocol", security(("bearer" = [])),
    params(
        ("id" = uuid::Uuid, Path, description = "The agent"),
        EventsQuery,
        ("last-event-id" = Option<String>, Header, description = "The last event that was received, to go on after it"),
    ),
    responses(
        (status = 200, description = "Events `message_update` and `status_change`", body = MessageUpdate, content_type = "text/event-stream"),
        (status = 204, description = "The agent has ended, and there is nothing more to tell"),
        (status = "default", description = "A problem", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn get_agent_events(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Extension(shown): Extension<Shown>,
    Path(id): Path<AgentId>,
    Query(EventsQuery { resume: whole }): Query<EventsQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let seen = last_event_id(&headers)?;
    let agent = match app.agents.live(&principal, id).await {
        Err(AgentError::NotRunning) => return Ok(what_was_said(app, &principal, shown, id, (seen, whole)).await?),
        agent => agent?,
    };
    let agent_type = agent.agent_type();
    let events = stream::unfold(agent.subscribe(seen), |mut subscription| async move {
        subscription.next().await.map(|told| (told, subscription))
    });
    Ok(event_stream::serve(app, shown, events.map(move |told| write(told, agent_type, whole))))
}

/// The end of the stream of an agent that has ended. Browsers reconnect when a stream ends, until the answer is 204.
async fn what_was_said(
    app: App,
    principal: &Principal,
    shown: Shown,
    id: AgentId,
    (seen, whole): (Option<EventId>, bool),
) -> Result<Response, AgentError> {
    let messages = app.agents.messages(principal, id).await?;
    let news = Told::again(&messages, seen).into_iter().filter_map(|told| match told.event {
        AgentEvent::MessageUpdate(message) => Some(write_message(told.id, &message, whole)),
        AgentEvent::StatusChange(_) => None,
    });
    let news: Vec<Event> = news.collect();
    if news.is_empty() {
        let agent = app.agents.get(principal, id).await?;
        return Ok(event_stream::no_further_events(app, shown, &agent));
    }
    Ok(event_stream::serve(app, shown, stream::iter(news)))
}

/// The event that the client resumes after. Clients that never had one may send an empty header.
pub(super) fn last_event_id(headers: &HeaderMap) -> Result<Option<EventId>, Problem> {
    let Some(header) = headers.get("last-event-id").filter(|header| !header.is_empty()) else { return Ok(None) };
    let id = header.to_str().ok().and_then(|text| text.parse().ok());
    id.map(Some).ok_or_else(|| Problem::field("header.last-event-id", "expected the id of an event of this agent"))
}

fn write(told: Told, agent_type: AgentType, whole: bool) -> Event {
    match told.event {
        AgentEvent::MessageUpdate(message) => write_message(told.id, &message, whole),
        AgentEvent::StatusChange(status) => event(told.id, "status_change", &StatusChange { status, agent_type }),
    }
}

fn write_message(id: EventId, message: &Message, whole: bool) -> Event {
    let text = if whole { Cow::Borrowed(&*message.content) } else { event_text::message(&message.content) };
    let data = MessageUpdate { id: message.id, role: message.role, message: text, time: message.time };
    event(id, "message_update", &data)
}

fn event(id: EventId, name: &str, data: &impl Serialize) -> Event {
    Event::default().id(id.to_string()).event(name).json_data(data).expect("plain values always serialise")
}
