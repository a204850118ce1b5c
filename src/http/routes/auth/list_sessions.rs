//! `GET /v1/auth/sessions`

use axum::extract::State;
use axum::{Extension, Json};
use chrono::Utc;
use serde::Serialize;
use utoipa::ToSchema;

use super::SessionBody;
use crate::domain::{Credential, Principal};
use crate::http::App;
use crate::http::problem::{Problem, ProblemBody};

/// The caller's sessions.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SessionsResponse {
    items: Vec<ListedSession>,
    /// Always null: a user's sessions fit one page.
    next: Option<String>,
}

/// One of the caller's sessions.
#[derive(Debug, Serialize, ToSchema)]
struct ListedSession {
    #[serde(flatten)]
    session: SessionBody,
    /// Whether it is the one that asks.
    current: bool,
}

/// My sessions, oldest first.
#[utoipa::path(get, path = "/v1/auth/sessions", tag = "auth", security(("bearer" = [])), responses(
    (status = 200, description = "The living sessions of the caller", body = SessionsResponse),
    (status = "default", description = "A problem", body = ProblemBody, content_type = "application/problem+json"),
))]
pub(super) async fn list_sessions(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
) -> Result<Json<SessionsResponse>, Problem> {
    let sessions = app.sessions.list(&principal, Utc::now()).await?;
    let listed = |session: crate::session::Session| ListedSession {
        current: principal.credential == Credential::Session(session.id),
        session: session.into(),
    };
    Ok(Json(SessionsResponse { items: sessions.into_iter().map(listed).collect(), next: None }))
}
