//! The gate before every route but the health checks: who asks, may they, and how often.
//!
//! | extension | set by | read by |
//! |---|---|---|
//! | `ClientIp` | `client_ip` | the gate |
//! | `Principal`, `Session` | the gate of signed-in routes | handlers, as `Extension` |
//! | `Claims` | the gate of signed-in routes | event streams, to verify the session again |

use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use chrono::Utc;

use super::App;
use super::client_ip::ClientIp;
use super::problem::{Code, Problem, whole_seconds};
use crate::domain::Principal;
use crate::rate_limit::{Decision, Identifier};
use crate::session::{Claims, Session, SessionError};

/// Lets a limited number of requests an address through to routes that are open to all.
pub(super) async fn open(State(app): State<App>, request: Request, next: Next) -> Response {
    let decision = take(&app, address(&request)).await;
    let response = match decision {
        Some(decision) if !decision.allowed => limited(decision),
        _ => next.run(request).await,
    };
    with_limit_headers(response, decision, &app)
}

/// Lets a limited number of requests a user through, if a living session is shown. The store is asked about limit and session
/// at the same time, so that both together cost one round trip.
pub(super) async fn signed_in(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let now = Utc::now();
    let claims = bearer(request.headers()).and_then(|token| app.sessions.identify(token, now));
    let identifier = claims.map_or_else(|| address(&request), |claims| Identifier::User(claims.user));
    let (decision, session) = tokio::join!(take(&app, identifier), verify(&app, claims));
    let response = match (decision, session) {
        (Some(decision), _) if !decision.allowed => limited(decision),
        (_, Ok((claims, principal, session))) => {
            request.extensions_mut().insert(claims);
            request.extensions_mut().insert(principal);
            request.extensions_mut().insert(session);
            next.run(request).await
        }
        (_, Err(SessionError::Invalid)) => Problem::new(Code::Unauthenticated).into_response(),
        (_, Err(SessionError::Unavailable(error))) => Problem::from(error).into_response(),
    };
    with_limit_headers(response, decision, &app)
}

type Verified = (Claims, Principal, Session);

async fn verify(app: &App, claims: Option<Claims>) -> Result<Verified, SessionError> {
    let verified = match claims {
        Some(claims) => app.sessions.verify(&claims, Utc::now()).await.map(|(principal, session)| (claims, principal, session)),
        None => Err(SessionError::Invalid),
    };
    let result = match &verified {
        Ok(_) => "valid",
        Err(SessionError::Invalid) => "invalid",
        Err(SessionError::Unavailable(_)) => "unavailable",
    };
    metrics::counter!("agentapi_session_checks_total", "result" => result).increment(1);
    verified
}

async fn take(app: &App, identifier: Identifier) -> Option<Decision> {
    let (decision, source) = app.limiter.as_ref()?.take(identifier).await;
    let outcome = if decision.allowed { "allowed" } else { "denied" };
    metrics::counter!("agentapi_rate_limit_decisions_total", "outcome" => outcome, "source" => source.as_str()).increment(1);
    Some(decision)
}

fn address(request: &Request) -> Identifier {
    let ClientIp(address) = request.extensions().get().copied().expect("client_ip runs before the gate");
    Identifier::address(address)
}

/// The token of an `Authorization: Bearer` header; the scheme in any case, by RFC 9110.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn limited(decision: Decision) -> Response {
    Problem::new(Code::RateLimited).with_retry_after(decision.reset_after).into_response()
}

/// `RateLimit` and `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers), and the older `X-RateLimit-*`, whose reset is in
/// seconds from now.
fn with_limit_headers(mut response: Response, decision: Option<Decision>, app: &App) -> Response {
    let (Some(Decision { limit, remaining, reset_after, .. }), Some(limiter)) = (decision, &app.limiter) else {
        return response;
    };
    let (reset, window) = (whole_seconds(reset_after), seconds(limiter.quota().window));
    let headers = response.headers_mut();
    insert(headers, "ratelimit-policy", &format!("\"default\";q={limit};w={window}"));
    insert(headers, "ratelimit", &format!("\"default\";r={remaining};t={reset}"));
    for (name, value) in [("x-ratelimit-limit", limit), ("x-ratelimit-remaining", remaining), ("x-ratelimit-reset", reset)] {
        headers.insert(name, HeaderValue::from(value));
    }
    response
}

fn insert(headers: &mut HeaderMap, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

const fn seconds(duration: Duration) -> u64 {
    duration.as_secs()
}
