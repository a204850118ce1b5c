//! `POST /v1/agents/{id}/message`

use axum::Extension;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::{AgentId, Principal};
use crate::http::App;
use crate::http::extract::{Json, Path};
use crate::http::problem::{Problem, ProblemBody};

/// Something to say to an agent.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct MessageRequest {
    content: String,
    #[serde(rename = "type")]
    kind: MessageType,
    /// Accepted and ignored, as in the AgentAPI protocol.
    #[serde(rename = "$schema", default)]
    #[schema(ignore)]
    _schema: Option<String>,
}

/// How it is said.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum MessageType {
    /// A message of the conversation: typed in and sent, if the agent waits for one.
    User,
    /// Keystrokes, passed on as they are at any time and not recorded.
    Raw,
}

/// It was said.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct MessageResponse {
    ok: bool,
}

/// Says something to the agent. A user message is answered once the agent has begun to work on it.
#[utoipa::path(post, path = "/v1/agents/{id}/message", tag = "agent protocol", security(("bearer" = [])),
    params(("id" = uuid::Uuid, Path, description = "The agent")), request_body = MessageRequest,
    responses(
        (status = 200, description = "It was said", body = MessageResponse),
        (status = 409, description = "The agent is busy, or has ended", body = ProblemBody, content_type = "application/problem+json"),
        (status = 504, description = "The agent did not react", body = ProblemBody, content_type = "application/problem+json"),
        (status = "default", description = "A problem", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn post_agent_message(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path(id): Path<AgentId>,
    Json(request): Json<MessageRequest>,
) -> Result<axum::Json<MessageResponse>, Problem> {
    let agent = app.agents.live(&principal, id).await?;
    match request.kind {
        MessageType::User => agent.send_user(&request.content).await?,
        MessageType::Raw => agent.send_raw(&request.content).await?,
    }
    Ok(axum::Json(MessageResponse { ok: true }))
}
