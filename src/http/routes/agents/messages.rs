//! `GET /v1/agents/{id}/messages`

use axum::extract::State;
use axum::{Extension, Json};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::{AgentId, Message, MessagePage, MessageRole, Principal};
use crate::http::App;
use crate::http::extract::{Limit, Path, Query};
use crate::http::problem::{Problem, ProblemBody};

/// A conversation, or a page of it.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct MessagesResponse {
    messages: Vec<MessageBody>,
    /// Of a page: `after` of the next one; null on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<i64>, required = false)]
    next: Option<NextPage>,
}

/// `after` of the next page, if there is one.
#[derive(Debug, Serialize)]
struct NextPage(Option<i64>);

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

/// What part of the conversation is asked for.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct MessagesQuery {
    /// Messages a page; 50 where only `after` is given.
    #[serde(default)]
    #[param(value_type = Option<u16>, minimum = 1, maximum = 100)]
    limit: Option<Limit<50>>,
    /// `next` of the page before: the id of its last message.
    #[serde(default)]
    after: Option<i64>,
}

/// The whole conversation, also of an agent that has ended; with `limit` or `after`, a page of it.
#[utoipa::path(get, path = "/v1/agents/{id}/messages", tag = "agent protocol", security(("bearer" = [])),
    params(("id" = uuid::Uuid, Path, description = "The agent"), MessagesQuery),
    responses(
        (status = 200, description = "The messages", body = MessagesResponse),
        (status = "default", description = "A problem", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn get_agent_messages(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path(id): Path<AgentId>,
    Query(MessagesQuery { limit, after }): Query<MessagesQuery>,
) -> Result<Json<MessagesResponse>, Problem> {
    if limit.is_none() && after.is_none() {
        let messages = app.agents.messages(&principal, id).await?;
        return Ok(Json(MessagesResponse { messages: messages.iter().map(MessageBody::from).collect(), next: None }));
    }
    let limit = limit.unwrap_or_default();
    let mut messages = app.agents.message_page(&principal, id, MessagePage { after, limit: limit.and_one() }).await?;
    let next = NextPage(limit.cut(&mut messages, |message| message.id));
    Ok(Json(MessagesResponse { messages: messages.iter().map(MessageBody::from).collect(), next: Some(next) }))
}
