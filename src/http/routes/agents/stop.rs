//! `DELETE /v1/agents/{id}`

use axum::extract::State;
use axum::{Extension, Json};

use super::agent_body::AgentBody;
use crate::domain::{AgentId, Principal};
use crate::http::App;
use crate::http::extract::Path;
use crate::http::problem::{Problem, ProblemBody};

/// Stops an agent: its program and all that it started. A remote agent is let go, and runs on where it is. Its messages stay. Stopping an ended agent changes nothing, except that a lost one becomes `stopped` and does not run again if its server comes back.
#[utoipa::path(delete, path = "/v1/agents/{id}", tag = "agents", security(("bearer" = [])),
    params(("id" = uuid::Uuid, Path, description = "The agent")),
    responses(
        (status = 200, description = "The agent, which has ended", body = AgentBody),
        (status = "default", description = "A problem", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn stop_agent(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path(id): Path<AgentId>,
) -> Result<Json<AgentBody>, Problem> {
    Ok(Json(app.agents.stop(&principal, id).await?.into()))
}
