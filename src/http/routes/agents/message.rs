//! `POST /v1/agents/{id}/message`

use axum::Extension;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::agent::Waiting;
use crate::domain::{AgentId, Expected, IdempotencyKey, Principal, RequestKey};
use crate::http::App;
use crate::http::extract::{Json, Path, Query};
use crate::http::problem::{Problem, ProblemBody};

const IDEMPOTENCY_KEY: &str = "idempotency-key";

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

/// It was said, or waits to be.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct MessageResponse {
    ok: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    queued: Option<QueuedBody>,
}

/// Where it waits.
#[derive(Debug, Serialize, ToSchema)]
struct QueuedBody {
    /// Its entry in the queue, to cancel it.
    id: Uuid,
    /// How many are before it.
    position: u64,
}

/// How it is to be said.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct MessageParams {
    /// Whether a user message waits until the agent is idle.
    #[serde(default)]
    queue: bool,
}

/// Says something to the agent. A user message is answered once the agent has begun to work on it; with `queue=true`, once it is written
/// down, and is said when the agent is idle and those before it are said. With an `Idempotency-Key`, a user message is said once, however
/// often it is sent.
#[utoipa::path(post, path = "/v1/agents/{id}/message", tag = "agent protocol", security(("bearer" = [])),
    params(
        ("id" = uuid::Uuid, Path, description = "The agent"), MessageParams,
        ("idempotency-key" = Option<String>, Header, description = "1 to 255 visible ASCII characters, of the client's choice"),
    ),
    request_body = MessageRequest,
    responses(
        (status = 200, description = "It was said", body = MessageResponse),
        (status = 202, description = "It waits", body = MessageResponse),
        (status = 409, description = "The agent is busy, or has ended", body = ProblemBody, content_type = "application/problem+json"),
        (status = 504, description = "The agent did not react", body = ProblemBody, content_type = "application/problem+json"),
        (status = "default", description = "A problem", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn post_agent_message(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path(id): Path<AgentId>,
    Query(params): Query<MessageParams>,
    headers: HeaderMap,
    Json(request): Json<MessageRequest>,
) -> Result<(StatusCode, axum::Json<MessageResponse>), Problem> {
    let key = idempotency_key(&headers)?;
    let said = || (StatusCode::OK, axum::Json(MessageResponse { ok: true, queued: None }));
    match (request.kind, params.queue) {
        (MessageType::User, false) => {
            let key = key.map(|key| RequestKey::new(key, &["user", &request.content]));
            app.agents.say(&principal, id, &request.content, key).await?;
            Ok(said())
        }
        (MessageType::User, true) => {
            let key = key.map(|key| RequestKey::new(key, &["user, queued", &request.content]));
            let Waiting { id, position } = app.agents.enqueue(&principal, id, &request.content, key).await?;
            let queued = Some(QueuedBody { id: id.as_uuid(), position });
            Ok((StatusCode::ACCEPTED, axum::Json(MessageResponse { ok: true, queued })))
        }
        (MessageType::Raw, true) => Err(Problem::field("query.queue", "expected only with a message of type user")),
        (MessageType::Raw, false) if key.is_some() => {
            Err(Problem::field(format!("header.{IDEMPOTENCY_KEY}"), "expected only with a message of type user"))
        }
        (MessageType::Raw, false) => {
            app.agents.live(&principal, id).await?.send_raw(&request.content).await?;
            Ok(said())
        }
    }
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<IdempotencyKey>, Problem> {
    let Some(header) = headers.get(IDEMPOTENCY_KEY) else { return Ok(None) };
    let key = header.to_str().map_err(|_| "expected visible ASCII characters".to_owned());
    let key = key.and_then(|text| text.parse().map_err(|expected: Expected| expected.to_string()));
    key.map(Some).map_err(|expected| Problem::field(format!("header.{IDEMPOTENCY_KEY}"), expected))
}
