//! `GET /v1/agents/{id}/events`

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use axum::response::sse::Event;
use chrono::{DateTime, Utc};
use futures_util::{StreamExt, stream};
use serde::Serialize;
use utoipa::ToSchema;

use super::event_stream;
use crate::agent::AgentEvent;
use crate::domain::{AgentId, AgentStatus, AgentType, MessageRole, Principal};
use crate::http::App;
use crate::http::extract::Path;
use crate::http::problem::{Problem, ProblemBody};
use crate::session::Claims;

/// Data of a `message_update` event: a message is new, or has changed.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct MessageUpdate {
    id: i64,
    role: MessageRole,
    #[schema(value_type = String)]
    message: std::sync::Arc<str>,
    time: DateTime<Utc>,
}

/// Data of a `status_change` event.
#[derive(Debug, Serialize, ToSchema)]
struct StatusChange {
    status: AgentStatus,
    agent_type: AgentType,
}

/// What happens, as it happens: first the conversation so far and the status, then each change.
#[utoipa::path(get, path = "/v1/agents/{id}/events", tag = "agent protocol", security(("bearer" = [])),
    params(("id" = uuid::Uuid, Path, description = "The agent")),
    responses(
        (status = 200, description = "Events `message_update` and `status_change`", body = MessageUpdate, content_type = "text/event-stream"),
        (status = "default", description = "A problem", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn get_agent_events(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Extension(claims): Extension<Claims>,
    Path(id): Path<AgentId>,
) -> Result<Response, Problem> {
    let agent = app.agents.live(&principal, id).await?;
    let agent_type = agent.agent_type();
    let subscription = agent.subscribe();
    let snapshot: Vec<AgentEvent> = subscription.snapshot().collect();
    let updates = stream::unfold(subscription, |mut subscription| async move {
        // The stream ends where the agent does, and where this reader is too slow to be told everything.
        subscription.next().await.ok().map(|event| (event, subscription))
    });
    let events = stream::iter(snapshot).chain(updates).map(move |event| write(event, agent_type));
    Ok(event_stream::serve(app, claims, events))
}

fn write(event: AgentEvent, agent_type: AgentType) -> Event {
    let written = match event {
        AgentEvent::MessageUpdate(message) => {
            let data = MessageUpdate { id: message.id, role: message.role, message: message.content, time: message.time };
            Event::default().event("message_update").json_data(data)
        }
        AgentEvent::StatusChange(status) => {
            Event::default().event("status_change").json_data(StatusChange { status, agent_type })
        }
    };
    written.expect("plain values always serialise")
}
