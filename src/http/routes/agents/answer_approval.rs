//! `POST /v1/agents/{id}/approvals/{approval_id}`

use axum::Extension;
use axum::extract::State;
use serde::Deserialize;
use utoipa::ToSchema;

use super::approvals::ApprovalBody;
use crate::domain::{AgentId, ApprovalId, Principal};
use crate::http::App;
use crate::http::extract::{Json, Path, Second};
use crate::http::problem::{Problem, ProblemBody};

/// An answer to what an agent asks leave for.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AnswerRequest {
    /// The id of one of the options that the agent offers.
    option: String,
}

/// Answers what an ACP agent asks leave for. The first answer wins.
#[utoipa::path(post, path = "/v1/agents/{id}/approvals/{approval_id}", tag = "agents", security(("bearer" = [])),
    params(
        ("id" = uuid::Uuid, Path, description = "The agent"),
        ("approval_id" = uuid::Uuid, Path, description = "What it asked leave for"),
    ),
    request_body = AnswerRequest,
    responses(
        (status = 200, description = "Answered, and the agent has the answer", body = ApprovalBody),
        (status = 409, description = "It was answered before, expired or was cancelled", body = ProblemBody, content_type = "application/problem+json"),
        (status = "default", description = "A problem", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn answer_agent_approval(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path(id): Path<AgentId>,
    Second(approval): Second<ApprovalId>,
    Json(request): Json<AnswerRequest>,
) -> Result<axum::Json<ApprovalBody>, Problem> {
    Ok(axum::Json(app.agents.answer_approval(&principal, id, approval, request.option).await?.into()))
}
