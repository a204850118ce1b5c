//! `DELETE /v1/api-keys/{id}`

use axum::Extension;
use axum::extract::State;
use axum::http::StatusCode;

use crate::domain::{ApiKeyId, Principal};
use crate::http::App;
use crate::http::extract::Path;
use crate::http::problem::{Code, Problem, ProblemBody};

/// Revokes one of my API keys; an administrator, one of its tenant. Its streams end.
#[utoipa::path(delete, path = "/v1/api-keys/{id}", tag = "api keys", security(("bearer" = [])),
    params(("id" = uuid::Uuid, Path, description = "The key")),
    responses(
        (status = 204, description = "Revoked: it lets nobody in any more"),
        (status = 403, description = "An API key asks; it takes a session", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "There is no such key, or it is not mine", body = ProblemBody, content_type = "application/problem+json"),
        (status = "default", description = "A problem", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn revoke_api_key(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path(id): Path<ApiKeyId>,
) -> Result<StatusCode, Problem> {
    if !app.api_keys.revoke(&principal, id).await? {
        return Err(Problem::new(Code::NotFound));
    }
    Ok(StatusCode::NO_CONTENT)
}
