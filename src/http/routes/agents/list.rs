//! `GET /v1/agents`

use axum::extract::State;
use axum::{Extension, Json};
use serde::Serialize;
use utoipa::ToSchema;

use super::agent_body::AgentBody;
use crate::domain::Principal;
use crate::http::App;
use crate::http::extract::{Page, Query};
use crate::http::problem::{Problem, ProblemBody};

/// A page of agents.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct AgentsResponse {
    items: Vec<AgentBody>,
    /// `after` of the next page; null on the last.
    next: Option<String>,
}

/// The agents of my tenant, newest first.
#[utoipa::path(get, path = "/v1/agents", tag = "agents", security(("bearer" = [])), params(Page), responses(
    (status = 200, description = "A page of agents", body = AgentsResponse),
    (status = "default", description = "A problem", body = ProblemBody, content_type = "application/problem+json"),
))]
pub(super) async fn list_agents(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Query(page): Query<Page>,
) -> Result<Json<AgentsResponse>, Problem> {
    let mut agents = app.agents.list(&principal, page.after, page.limit.and_one()).await?;
    let next = page.limit.cut(&mut agents, |agent| agent.id.to_string());
    Ok(Json(AgentsResponse { items: agents.into_iter().map(AgentBody::from).collect(), next }))
}
