//! `GET /v1/auth/session`

use axum::extract::State;
use axum::{Extension, Json};
use serde::Serialize;
use utoipa::ToSchema;

use super::{SessionBody, TenantBody, UserBody};
use crate::domain::Principal;
use crate::http::App;
use crate::http::problem::{Code, Problem, ProblemBody};
use crate::session::Session;

/// Who is signed in.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SessionResponse {
    session: SessionBody,
    user: UserBody,
    tenant: TenantBody,
}

/// Who am I?
#[utoipa::path(get, path = "/v1/auth/session", tag = "auth", security(("bearer" = [])), responses(
    (status = 200, description = "Session, user and tenant", body = SessionResponse),
    (status = "default", description = "A problem", body = ProblemBody, content_type = "application/problem+json"),
))]
pub(super) async fn get_session(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Extension(session): Extension<Session>,
) -> Result<Json<SessionResponse>, Problem> {
    let directory = &app.directory;
    let (user, tenant) = tokio::try_join!(directory.user(principal.scope, principal.user), directory.tenant(principal.scope))?;
    let (user, tenant) = user.zip(tenant).ok_or(Problem::new(Code::Unauthenticated))?;
    Ok(Json(SessionResponse { session: session.into(), user: user.into(), tenant: tenant.into() }))
}
