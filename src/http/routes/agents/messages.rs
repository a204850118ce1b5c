//! `GET /v1/agents/{id}/messages`

use axum::extract::State;
use axum::{Extension, Json};
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use crate::domain::{AgentId, Message, MessageRole, Principal};
use crate::http::App;
use crate::http::extract::Path;
use crate::http::problem::{Problem, ProblemBody};

/// A conversation.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct MessagesResponse {
    messages: Vec<MessageBody>,
}

/// A message.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Message)]
struct MessageBody {
    /// Place in the conversation, from 0.
    id: i64,
    #[schema(value_type = String)]
    content: std::sync::Arc<str>,
    role: MessageRole,
    time: DateTime<Utc>,
}

impl From<&Message> for MessageBody {
    fn from(message: &Message) -> Self {
        Self { id: message.id, content: message.content.clone(), role: message.role, time: message.time }
    }
}

/// The whole conversation, also of an agent that has ended.
#[utoipa::path(get, path = "/v1/agents/{id}/messages", tag = "agent protocol", security(("bearer" = [])),
    params(("id" = uuid::Uuid, Path, description = "The agent")),
    responses(
        (status = 200, description = "The messages", body = MessagesResponse),
        (status = "default", description = "A problem", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn get_agent_messages(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path(id): Path<AgentId>,
) -> Result<Json<MessagesResponse>, Problem> {
    let messages = app.agents.messages(&principal, id).await?;
    Ok(Json(MessagesResponse { messages: messages.iter().map(MessageBody::from).collect() }))
}
