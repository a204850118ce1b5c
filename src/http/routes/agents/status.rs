//! `GET /v1/agents/{id}/status`

use axum::extract::State;
use axum::{Extension, Json};
use serde::Serialize;
use utoipa::ToSchema;

use crate::domain::{AgentId, AgentStatus, AgentType, Principal, Transport};
use crate::http::App;
use crate::http::extract::Path;
use crate::http::problem::{Problem, ProblemBody};

/// Whether an agent waits for its user.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct AgentStatusResponse {
    status: AgentStatus,
    /// Whether it waits for the answer to a question, which its last message shows, and takes keys only: a `raw` message. Told of agents
    /// in a terminal of this deployment.
    #[serde(skip_serializing_if = "Option::is_none")]
    asks: Option<bool>,
    agent_type: AgentType,
    transport: Transport,
}

/// Whether the agent takes a message. Of a remote agent that cannot be reached, that is not known.
#[utoipa::path(get, path = "/v1/agents/{id}/status", tag = "agent protocol", security(("bearer" = [])),
    params(("id" = uuid::Uuid, Path, description = "The agent")),
    responses(
        (status = 200, description = "Its status", body = AgentStatusResponse),
        (status = "default", description = "A problem", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn get_agent_status(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path(id): Path<AgentId>,
) -> Result<Json<AgentStatusResponse>, Problem> {
    let agent = app.agents.live(&principal, id).await?;
    agent.reachable()?;
    let transport = agent.transport();
    let asks = (transport == Transport::Pty).then(|| agent.asks());
    Ok(Json(AgentStatusResponse { status: agent.status(), asks, agent_type: agent.agent_type(), transport }))
}
