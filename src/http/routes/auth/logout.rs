//! `POST /v1/auth/logout`

use axum::Extension;
use axum::extract::State;
use axum::http::StatusCode;

use super::ended;
use crate::domain::Principal;
use crate::http::App;
use crate::http::problem::{Problem, ProblemBody};
use crate::session::Session;

/// Signs out: the session ends, and its token is worth nothing any more.
#[utoipa::path(post, path = "/v1/auth/logout", tag = "auth", security(("bearer" = [])), responses(
    (status = 204, description = "Signed out"),
    (status = "default", description = "A problem", body = ProblemBody, content_type = "application/problem+json"),
))]
pub(super) async fn logout(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Extension(session): Extension<Session>,
) -> Result<StatusCode, Problem> {
    app.sessions.end(&principal, session.id).await?;
    ended::record(&app, principal.scope, principal.user, vec![session.id]).await;
    Ok(StatusCode::NO_CONTENT)
}
