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

const DEFAULT_LIMIT: u16 = 20;
const MAX_LIMIT: u16 = 100;

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
    let limit = page.limit.unwrap_or(DEFAULT_LIMIT);
    if !(1..=MAX_LIMIT).contains(&limit) {
        return Err(Problem::field("query.limit", "expected a whole number from 1 to 100"));
    }
    // One more than asked for tells whether there is a next page.
    let mut agents = app.agents.list(&principal, page.after, limit + 1).await?;
    let more = agents.len() > usize::from(limit);
    agents.truncate(usize::from(limit));
    let next = agents.last().filter(|_| more).map(|agent| agent.id.to_string());
    Ok(Json(AgentsResponse { items: agents.into_iter().map(AgentBody::from).collect(), next }))
}
