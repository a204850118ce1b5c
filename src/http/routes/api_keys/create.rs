//! `POST /v1/api-keys`

use axum::Extension;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use chrono::{TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::ApiKeyBody;
use crate::api_key::MAX_PER_USER;
use crate::domain::{ApiKeyName, Expected, Principal};
use crate::http::App;
use crate::http::extract::Json;
use crate::http::problem::{Code, Problem, ProblemBody};

/// Longest life of a key that ends: ten years.
const MAX_DAYS: u16 = 3650;

/// The key that is wanted.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CreateApiKeyRequest {
    /// What I call it: 1 to 100 characters.
    #[schema(example = "nightly build", min_length = 1, max_length = 100)]
    name: String,
    /// After how many days it ends. Without it, it is good until it is revoked.
    #[serde(default)]
    #[schema(example = 90, minimum = 1, maximum = 3650)]
    expires_in_days: Option<u16>,
}

/// The new key.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct CreateApiKeyResponse {
    #[serde(flatten)]
    metadata: ApiKeyBody,
    /// To be shown with every request: `Authorization: Bearer <key>`. It is told this once, and kept nowhere.
    #[schema(example = "agk_…")]
    key: String,
}

/// Makes an API key that acts as me.
#[utoipa::path(post, path = "/v1/api-keys", tag = "api keys", security(("bearer" = [])), request_body = CreateApiKeyRequest, responses(
    (status = 201, description = "Made", body = CreateApiKeyResponse, headers(("location" = String, description = "Where it is revoked"))),
    (status = 403, description = "An API key asks; it takes a session", body = ProblemBody, content_type = "application/problem+json"),
    (status = 409, description = "I have as many keys as I may", body = ProblemBody, content_type = "application/problem+json"),
    (status = "default", description = "A problem", body = ProblemBody, content_type = "application/problem+json"),
))]
pub(super) async fn create_api_key(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Json(request): Json<CreateApiKeyRequest>,
) -> Result<impl IntoResponse, Problem> {
    let name: ApiKeyName =
        request.name.parse().map_err(|expected: Expected| Problem::field("body.name", expected.to_string()))?;
    if request.expires_in_days.is_some_and(|days| !(1..=MAX_DAYS).contains(&days)) {
        return Err(Problem::field("body.expires_in_days", "expected a whole number from 1 to 3650"));
    }
    let expires_at = request.expires_in_days.map(|days| Utc::now() + TimeDelta::days(days.into()));
    let (key, text) = app.api_keys.make(&principal, name, expires_at).await?.ok_or_else(|| {
        Problem::new(Code::ApiKeyLimitReached).with_detail(format!("a user may have {MAX_PER_USER}: revoke one that is not used"))
    })?;
    let location = format!("/v1/api-keys/{}", key.id);
    let body = CreateApiKeyResponse { metadata: key.into(), key: text.expose().to_owned() };
    let headers = [(header::LOCATION, location), (header::CACHE_CONTROL, "no-store".to_owned())];
    Ok((StatusCode::CREATED, headers, axum::Json(body)))
}
