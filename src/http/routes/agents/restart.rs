//! `POST /v1/agents/{id}/restart`

use axum::extract::State;
use axum::{Extension, Json};

use super::agent_body::AgentBody;
use crate::domain::{AgentId, Principal};
use crate::http::App;
use crate::http::extract::Path;
use crate::http::problem::{Problem, ProblemBody};

/// Starts an agent again, after stopping it if it runs; attaches to a remote one again. Its workspace and its messages stay; the
/// conversation goes on.
#[utoipa::path(post, path = "/v1/agents/{id}/restart", tag = "agents", security(("bearer" = [])),
    params(("id" = uuid::Uuid, Path, description = "The agent")),
    responses(
        (status = 200, description = "The agent, which runs", body = AgentBody),
        (status = "default", description = "A problem", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn restart_agent(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path(id): Path<AgentId>,
) -> Result<Json<AgentBody>, Problem> {
    Ok(Json(app.agents.restart(&principal, id).await?.into()))
}
