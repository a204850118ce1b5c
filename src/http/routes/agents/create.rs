//! `POST /v1/agents`

use axum::Extension;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;

use super::agent_body::AgentBody;
use super::new_agent::CreateAgentRequest;
use crate::domain::Principal;
use crate::http::App;
use crate::http::extract::Json;
use crate::http::problem::{Problem, ProblemBody};

/// Starts an agent, or attaches to a remote one, which must answer.
#[utoipa::path(post, path = "/v1/agents", tag = "agents", security(("bearer" = [])), request_body = CreateAgentRequest, responses(
    (status = 201, description = "Started", body = AgentBody, headers(("location" = String, description = "Where the agent is"))),
    (status = "default", description = "A problem", body = ProblemBody, content_type = "application/problem+json"),
))]
pub(super) async fn create_agent(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Json(request): Json<CreateAgentRequest>,
) -> Result<impl IntoResponse, Problem> {
    let new = request.parse(app.agents.allows_custom_commands())?;
    let agent = app.agents.create(&principal, new).await?;
    let location = format!("/v1/agents/{}", agent.id);
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], axum::Json(AgentBody::from(agent))))
}
