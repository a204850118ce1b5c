//! `DELETE /v1/auth/sessions/{id}` and `DELETE /v1/auth/sessions`

use axum::Extension;
use axum::extract::State;
use axum::http::StatusCode;

use super::ended;
use crate::domain::{Principal, SessionId};
use crate::http::App;
use crate::http::extract::Path;
use crate::http::problem::{Code, Problem, ProblemBody};
use crate::session::Session;

/// Ends one of my sessions.
#[utoipa::path(delete, path = "/v1/auth/sessions/{id}", tag = "auth", security(("bearer" = [])),
    params(("id" = String, Path, description = "The session", example = "0123456789abcdef0123456789abcdef")),
    responses(
        (status = 204, description = "Ended"),
        (status = 404, description = "I have no such session", body = ProblemBody, content_type = "application/problem+json"),
        (status = "default", description = "A problem", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn end_session(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path(session): Path<SessionId>,
) -> Result<StatusCode, Problem> {
    if !app.sessions.end(&principal, session).await? {
        return Err(Problem::new(Code::NotFound));
    }
    ended::record(&app, principal.scope, principal.user, vec![session]).await;
    Ok(StatusCode::NO_CONTENT)
}

/// Ends all my sessions but this one.
#[utoipa::path(delete, path = "/v1/auth/sessions", tag = "auth", security(("bearer" = [])), responses(
    (status = 204, description = "Ended"),
    (status = "default", description = "A problem", body = ProblemBody, content_type = "application/problem+json"),
))]
pub(super) async fn end_other_sessions(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Extension(session): Extension<Session>,
) -> Result<StatusCode, Problem> {
    let ended = app.database.users(principal.scope).end_other_sessions(principal.user, session.id).await?;
    app.sessions.end_others(&principal, ended.ok_or(Problem::new(Code::Unauthenticated))?).await;
    Ok(StatusCode::NO_CONTENT)
}
