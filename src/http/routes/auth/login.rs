//! `POST /v1/auth/login`

use std::net::IpAddr;

use axum::Extension;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{SessionBody, TenantBody, UserBody, ended};
use crate::domain::{Email, PasswordHash, Slug, Tenant, TenantId, TenantScope, User};
use crate::hashing::QueueFull;
use crate::http::client_ip::ClientIp;
use crate::http::extract::Json;
use crate::http::problem::{Code, Problem, ProblemBody, RETRY_AFTER};
use crate::http::{App, limit};
use crate::session::OpenedSession;

/// Who wants to sign in.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct LoginRequest {
    /// The tenant's short name.
    #[schema(example = "default")]
    tenant: String,
    #[schema(example = "admin@localhost")]
    email: String,
    #[schema(value_type = String, format = Password)]
    password: SecretString,
}

/// Who signed in.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct LoginResponse {
    /// To be shown with every request: `Authorization: Bearer <token>`.
    token: String,
    expires_at: DateTime<Utc>,
    session: SessionBody,
    user: UserBody,
    tenant: TenantBody,
}

/// Signs in.
#[utoipa::path(post, path = "/v1/auth/login", tag = "auth", request_body = LoginRequest, responses(
    (status = 200, description = "Signed in", body = LoginResponse),
    (status = 401, description = "Tenant, e-mail address or password is wrong", body = ProblemBody, content_type = "application/problem+json"),
    (status = 429, description = "Too many attempts from this address or network, or to log in to this account", body = ProblemBody, content_type = "application/problem+json"),
    (status = 503, description = "Too many log-ins are waiting, or Redis or Postgres is away", body = ProblemBody, content_type = "application/problem+json"),
    (status = "default", description = "A problem", body = ProblemBody, content_type = "application/problem+json"),
))]
pub(super) async fn login(
    State(app): State<App>,
    Extension(ClientIp(address)): Extension<ClientIp>,
    Json(request): Json<LoginRequest>,
) -> Result<Response, Problem> {
    // Before any password is hashed; and refused while nobody can tell how many were tried.
    if let Some(limiter) = &app.limiter {
        let limits = limiter.login_limits(address, &request.tenant, &request.email);
        let verdict = limit::counted(&app, limiter.take_or_fail(limits, 1).await?);
        if !verdict.decision.allowed {
            return Ok(limit::refused(&app, &verdict));
        }
    }
    let (slug, email) = (request.tenant.clone(), request.email.clone());
    let (tenant, user) = authenticate(&app, address, request).await?.ok_or(Problem::new(Code::InvalidCredentials))?;
    let OpenedSession { token, session, ended } = app.sessions.open(&user, Utc::now()).await?;
    ended::record(&app, scope(tenant.id), user.id, ended).await;
    let recorded = app.database.users(scope(tenant.id)).record_login(&user, session.id).await;
    if !matches!(recorded, Ok(true)) {
        app.sessions.withdraw(&user, session.id).await?;
        return Err(recorded.map_or_else(Problem::from, |_| Problem::new(Code::InvalidCredentials)));
    }
    if let Some(limiter) = &app.limiter
        && let Err(error) = limiter.remember_login(address, &slug, &email).await
    {
        tracing::warn!(%error, "this network is not remembered: attempts from elsewhere may keep the user out");
    }
    let body = LoginResponse {
        token: token.expose().to_owned(),
        expires_at: session.expires_at,
        session: session.into(),
        user: user.into(),
        tenant: tenant.into(),
    };
    Ok(([(header::CACHE_CONTROL, "no-store")], axum::Json(body)).into_response())
}

/// The user with these credentials. Does the same work, a password's hash above all, for a tenant or user that there is not.
async fn authenticate(app: &App, address: IpAddr, request: LoginRequest) -> Result<Option<(Tenant, User)>, Problem> {
    // Before Postgres is asked, so that a flood does not wait in front of it.
    let place = app.hashing().enter(address).map_err(too_many)?;
    let tenant = match request.tenant.parse::<Slug>() {
        Ok(slug) => app.database.tenants().find(&slug).await?,
        Err(_) => None,
    };
    let id = tenant.as_ref().map_or_else(TenantId::new, |tenant| tenant.id);
    let credentials = match request.email.parse::<Email>() {
        Ok(email) => app.database.users(scope(id)).credentials(&email).await?,
        Err(_) => None,
    };
    let hash = credentials.as_ref().map_or_else(PasswordHash::of_nobody, |credentials| credentials.password.clone());
    let turn = place.turn().await.map_err(too_many)?;
    metrics::counter!("agentapi_password_verifications_total").increment(1);
    let verified = tokio::task::spawn_blocking(move || {
        // Until it is hashed, also if the client has gone meanwhile.
        let _turn = turn;
        hash.verify(&request.password)
    });
    let verified = verified.await;
    let verified = verified.map_err(|error| Problem::internal(error.to_string()))?;
    let found = tenant.zip(credentials).map(|(tenant, credentials)| (tenant, credentials.user));
    Ok(found.filter(|(tenant, user)| verified && tenant.suspended_at.is_none() && user.disabled_at.is_none()))
}

fn too_many(error: QueueFull) -> Problem {
    metrics::counter!("agentapi_login_queue_refused_total").increment(1);
    Problem::new(Code::ServiceUnavailable).with_detail(error.to_string()).with_retry_after(RETRY_AFTER)
}

#[expect(
    clippy::disallowed_methods,
    reason = "logging in is what makes a caller a tenant's: its user is looked up, and nothing else"
)]
const fn scope(tenant: TenantId) -> TenantScope {
    TenantScope::assume_verified(tenant)
}
