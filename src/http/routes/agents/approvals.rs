//! `GET /v1/agents/{id}/approvals`

use axum::extract::State;
use axum::{Extension, Json};
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::domain::{AgentId, Approval, ApprovalOption, ApprovalState, Principal};
use crate::http::App;
use crate::http::extract::{ApprovalsPage, Path, Query};
use crate::http::problem::{Problem, ProblemBody};

/// What an agent asked leave for, and what became of it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Approval)]
pub(super) struct ApprovalBody {
    id: Uuid,
    /// The tool call it is about, as the agent tells of it.
    tool_call: serde_json::Value,
    /// The answers that the agent offers.
    options: Vec<ApprovalOption>,
    state: ApprovalState,
    /// The answer's id, if it was answered.
    option: Option<String>,
    /// The user who answered.
    answered_by: Option<Uuid>,
    created_at: DateTime<Utc>,
    /// When it is denied unless it is answered.
    expires_at: DateTime<Utc>,
    /// When it was answered, expired or was cancelled; null also where its agent ended first.
    settled_at: Option<DateTime<Utc>>,
}

impl From<Approval> for ApprovalBody {
    fn from(approval: Approval) -> Self {
        Self {
            id: approval.asked.id.as_uuid(),
            tool_call: approval.asked.tool_call,
            options: approval.asked.options,
            state: approval.state,
            option: approval.option,
            answered_by: approval.answered_by.map(|user| user.as_uuid()),
            created_at: approval.asked.created_at,
            expires_at: approval.asked.expires_at,
            settled_at: approval.settled_at,
        }
    }
}

/// A page of what an agent asked leave for.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ApprovalsResponse {
    items: Vec<ApprovalBody>,
    /// `after` of the next page; null on the last.
    next: Option<String>,
}

/// What an ACP agent asked leave for, newest first, also of one that has ended.
#[utoipa::path(get, path = "/v1/agents/{id}/approvals", tag = "agents", security(("bearer" = [])),
    params(("id" = uuid::Uuid, Path, description = "The agent"), ApprovalsPage),
    responses(
        (status = 200, description = "A page of approvals", body = ApprovalsResponse),
        (status = "default", description = "A problem", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn list_agent_approvals(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path(id): Path<AgentId>,
    Query(page): Query<ApprovalsPage>,
) -> Result<Json<ApprovalsResponse>, Problem> {
    let mut approvals = app.agents.approvals(&principal, id, page.state, page.after, page.limit.and_one()).await?;
    let next = page.limit.cut(&mut approvals, |approval| approval.asked.id.to_string());
    Ok(Json(ApprovalsResponse { items: approvals.into_iter().map(ApprovalBody::from).collect(), next }))
}
