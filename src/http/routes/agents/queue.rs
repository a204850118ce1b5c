//! `GET /v1/agents/{id}/queue` and `DELETE /v1/agents/{id}/queue/{message}`

use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::domain::{AgentId, Principal, QueuedId};
use crate::http::App;
use crate::http::extract::{Path, Second};
use crate::http::problem::{Problem, ProblemBody};
use crate::postgres::{QueuedMessage, QueuedState};

/// The messages that wait.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct QueueResponse {
    /// In the order in which they are said.
    items: Vec<QueuedMessageBody>,
}

/// A message that waits.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = QueuedMessage)]
struct QueuedMessageBody {
    id: Uuid,
    content: String,
    #[schema(value_type = String, example = "waiting")]
    state: &'static str,
    /// The user who sent it.
    created_by: Uuid,
    created_at: DateTime<Utc>,
}

impl From<QueuedMessage> for QueuedMessageBody {
    fn from(message: QueuedMessage) -> Self {
        let state = match message.state {
            QueuedState::Waiting => "waiting",
            QueuedState::Delivering => "delivering",
            QueuedState::Failed => "failed",
        };
        let QueuedMessage { id, content, created_by, created_at, .. } = message;
        Self { id: id.as_uuid(), content, state, created_by: created_by.as_uuid(), created_at }
    }
}

/// What waits for the agent, and what it did not take (`failed`: not tried again, and to be cancelled).
#[utoipa::path(get, path = "/v1/agents/{id}/queue", tag = "agents", security(("bearer" = [])),
    params(("id" = uuid::Uuid, Path, description = "The agent")),
    responses(
        (status = 200, description = "The messages that wait, at most 100, and those that failed", body = QueueResponse),
        (status = "default", description = "A problem", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn get_agent_queue(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path(id): Path<AgentId>,
) -> Result<Json<QueueResponse>, Problem> {
    let waiting = app.agents.queue(&principal, id).await?;
    Ok(Json(QueueResponse { items: waiting.into_iter().map(Into::into).collect() }))
}

/// Takes a message out of the queue, unless the agent is being given it.
#[utoipa::path(delete, path = "/v1/agents/{id}/queue/{message}", tag = "agents", security(("bearer" = [])),
    params(("id" = uuid::Uuid, Path, description = "The agent"), ("message" = uuid::Uuid, Path, description = "The message")),
    responses(
        (status = 204, description = "It is not said"),
        (status = 409, description = "The agent is being given it", body = ProblemBody, content_type = "application/problem+json"),
        (status = "default", description = "A problem", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn cancel_queued_message(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path(id): Path<AgentId>,
    Second(message): Second<QueuedId>,
) -> Result<StatusCode, Problem> {
    app.agents.cancel(&principal, id, message).await?;
    Ok(StatusCode::NO_CONTENT)
}
