//! Signing in and out.

mod end_session;
mod ended;
mod list_sessions;
mod login;
mod logout;
mod session;

use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::cache::{TenantProfile, UserProfile};
use crate::domain::{Tenant, User, UserRole};
use crate::http::App;
use crate::session::Session;

pub(super) fn open_routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(login::login))
}

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(logout::logout))
        .routes(routes!(session::get_session))
        .routes(routes!(list_sessions::list_sessions, end_session::end_other_sessions))
        .routes(routes!(end_session::end_session))
}

/// A session.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Session)]
struct SessionBody {
    #[schema(example = "0123456789abcdef0123456789abcdef")]
    id: String,
    created_at: DateTime<Utc>,
    /// When it ends unless it is used before.
    expires_at: DateTime<Utc>,
}

impl From<Session> for SessionBody {
    fn from(session: Session) -> Self {
        Self { id: session.id.to_string(), created_at: session.created_at, expires_at: session.expires_at }
    }
}

/// A user.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = User)]
struct UserBody {
    id: Uuid,
    email: String,
    role: UserRole,
}

impl From<User> for UserBody {
    fn from(user: User) -> Self {
        Self { id: user.id.as_uuid(), email: user.email.to_string(), role: user.role }
    }
}

impl From<UserProfile> for UserBody {
    fn from(user: UserProfile) -> Self {
        Self { id: user.id.as_uuid(), email: user.email.to_string(), role: user.role }
    }
}

/// A tenant.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Tenant)]
struct TenantBody {
    id: Uuid,
    slug: String,
    name: String,
}

impl From<Tenant> for TenantBody {
    fn from(tenant: Tenant) -> Self {
        Self { id: tenant.id.as_uuid(), slug: tenant.slug.to_string(), name: tenant.name }
    }
}

impl From<TenantProfile> for TenantBody {
    fn from(tenant: TenantProfile) -> Self {
        Self { id: tenant.id.as_uuid(), slug: tenant.slug.to_string(), name: tenant.name }
    }
}
