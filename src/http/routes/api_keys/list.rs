//! `GET /v1/api-keys`

use axum::extract::State;
use axum::{Extension, Json};
use serde::Serialize;
use utoipa::ToSchema;

use super::ApiKeyBody;
use crate::domain::Principal;
use crate::http::App;
use crate::http::extract::{ApiKeysPage, Query};
use crate::http::problem::{Problem, ProblemBody};

/// A page of API keys.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ApiKeysResponse {
    items: Vec<ApiKeyBody>,
    /// `after` of the next page; null on the last.
    next: Option<String>,
}

/// My API keys that are not revoked, newest first; an administrator's are those of its tenant.
#[utoipa::path(get, path = "/v1/api-keys", tag = "api keys", security(("bearer" = [])), params(ApiKeysPage), responses(
    (status = 200, description = "A page of keys, without their texts", body = ApiKeysResponse),
    (status = 403, description = "An API key asks; it takes a session", body = ProblemBody, content_type = "application/problem+json"),
    (status = "default", description = "A problem", body = ProblemBody, content_type = "application/problem+json"),
))]
pub(super) async fn list_api_keys(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Query(page): Query<ApiKeysPage>,
) -> Result<Json<ApiKeysResponse>, Problem> {
    let mut keys = app.api_keys.list(&principal, page.after, page.limit.and_one()).await?;
    let next = page.limit.cut(&mut keys, |key| key.id.to_string());
    Ok(Json(ApiKeysResponse { items: keys.into_iter().map(ApiKeyBody::from).collect(), next }))
}
