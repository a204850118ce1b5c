//! API keys: for machines, which cannot log in.

mod create;
mod list;
mod revoke;

use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::domain::ApiKey;
use crate::http::App;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(create::create_api_key, list::list_api_keys)).routes(routes!(revoke::revoke_api_key))
}

/// An API key, without its text.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ApiKey)]
struct ApiKeyBody {
    id: Uuid,
    #[schema(example = "nightly build")]
    name: String,
    /// As whom it acts.
    user: KeysUser,
    created_at: DateTime<Utc>,
    /// When it ends; null if it does not.
    expires_at: Option<DateTime<Utc>>,
    /// When it was last used, to some minutes; null if it never was.
    last_used_at: Option<DateTime<Utc>>,
}

/// Whose key it is.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ApiKeyUser)]
struct KeysUser {
    id: Uuid,
    email: String,
}

impl From<ApiKey> for ApiKeyBody {
    fn from(key: ApiKey) -> Self {
        Self {
            id: key.id.as_uuid(),
            name: key.name.as_str().to_owned(),
            user: KeysUser { id: key.user.as_uuid(), email: key.email.to_string() },
            created_at: key.created_at,
            expires_at: key.expires_at,
            last_used_at: key.last_used_at,
        }
    }
}
