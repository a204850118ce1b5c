//! The gate before every route but the health checks: who asks, may they, and how often.
//!
//! | extension | set by | read by |
//! |---|---|---|
//! | `ClientIp` | `client_ip` | the gate, log-in |
//! | `Principal`, and `Session` of who has one | the gate of signed-in routes | handlers, as `Extension` |
//! | `Shown` | the gate of signed-in routes | event streams, to verify again what was shown |

use std::net::IpAddr;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use chrono::Utc;

use super::client_ip::ClientIp;
use super::forwarded::{self, Forwarded};
use super::problem::{Code, Problem};
use super::shown::Shown;
use super::{App, api_key_gate, cost, fresh_token, limit, owner};
use crate::domain::{Credential, Principal, TenantId, UserId};
use crate::rate_limit::Limit;
use crate::replica::ForwardingGrant;
use crate::session::{Claims, Session, SessionError};

/// Lets a limited number of requests an address through to routes that are open to all.
pub(super) async fn open(State(app): State<App>, request: Request, next: Next) -> Response {
    limited_by_address(&app, request, |request| next.run(request)).await
}

/// Lets a limited number of requests an address through to `then`.
pub(super) async fn limited_by_address<F>(app: &App, request: Request, then: impl FnOnce(Request) -> F) -> Response
where
    F: Future<Output = Response>,
{
    let (cost, address) = (cost::of(&request), address(&request));
    let limits = limits(app, None, address).await;
    if let Some(refusal) = limit::known_refusal(app, limits.as_deref(), cost) {
        return limit::refused(app, &refusal);
    }
    let verdict = limit::take(app, limits, cost).await;
    let response = match &verdict {
        Some(verdict) if !verdict.decision.allowed => return limit::refused(app, verdict),
        _ => then(request).await,
    };
    limit::with_headers(response, app, verdict.as_ref())
}

/// Lets requests through that [`admit`] lets through.
pub(super) async fn signed_in(State(app): State<App>, request: Request, next: Next) -> Response {
    admit(&app, request, |_, request| next.run(request)).await
}

/// The same for who logged in, and not by an API key: machines neither make keys nor look after sessions.
pub(super) async fn signed_in_by_session(State(app): State<App>, request: Request, next: Next) -> Response {
    let then = |principal: Principal, request| async move {
        match principal.credential {
            Credential::Session(_) => next.run(request).await,
            Credential::ApiKey(_) => {
                Problem::new(Code::SessionRequired).with_detail("an API key may not do this: log in").into_response()
            }
        }
    };
    admit(&app, request, then).await
}

/// The same for requests about an agent, which are answered where it lives: not a layer of its own, for each copies what is within.
/// Here, and nowhere else, a grant of another server counts.
pub(super) async fn signed_in_at_owner(State(app): State<App>, request: Request, next: Next) -> Response {
    let then = |principal, request| owner::answer(&app, principal, request, next);
    match request.extensions().get::<Forwarded>().copied() {
        None => admit(&app, request, then).await,
        // Boxed: few requests come this way, and the future of all others would have room for them.
        Some(Forwarded::Granted(grant)) => Box::pin(admit_forwarded(&app, &grant, request, then)).await,
        Some(Forwarded::Refused(why)) => {
            Box::pin(limited_by_address(&app, request, |_| async move { forwarded::refused(why) })).await
        }
    }
}

/// Lets a limited number of requests through to `then`, by user, tenant and address, if a living session is shown. Redis is asked
/// about limits and session at the same time, so that both together cost one round trip; what it is known to refuse costs none.
async fn admit<F>(app: &App, mut request: Request, then: impl FnOnce(Principal, Request) -> F) -> Response
where
    F: Future<Output = Response>,
{
    if let Some(key) = api_key_gate::shown(&request) {
        return api_key_gate::admit(app, key, request, then).await;
    }
    let now = Utc::now();
    let claims = bearer(request.headers()).and_then(|token| app.sessions.identify(token, now));
    // Whoever shows a token of a session that is over speaks for nobody: its user and tenant are not charged.
    let claims = claims.filter(|claims| !app.sessions.is_known_dead(claims));
    let (cost, address) = (cost::of(&request), address(&request));
    let limits = limits(app, claims.map(|claims| (claims.tenant, claims.user)), address).await;
    if let Some(refusal) = limit::known_refusal(app, limits.as_deref(), cost) {
        return limit::refused(app, &refusal);
    }
    let (verdict, session) = tokio::join!(limit::take(app, limits, cost), verify(app, claims));
    let response = match (&verdict, session) {
        (Some(verdict), _) if !verdict.decision.allowed => return limit::refused(app, verdict),
        (_, Ok((claims, principal, session))) => {
            request.extensions_mut().insert(Shown::Session(claims));
            request.extensions_mut().insert(principal);
            request.extensions_mut().insert(session);
            fresh_token::with(then(principal, request).await, app.sessions.refreshed(&claims))
        }
        (_, Err(error)) => Problem::from(error).into_response(),
    };
    limit::with_headers(response, app, verdict.as_ref())
}

/// Lets a request through to `then` that another server forwarded, if the credential that it was shown is valid here too. Its limits
/// were taken there.
async fn admit_forwarded<F>(
    app: &App,
    grant: &ForwardingGrant,
    mut request: Request,
    then: impl FnOnce(Principal, Request) -> F,
) -> Response
where
    F: Future<Output = Response>,
{
    let principal = match forwarded::shown(app, grant) {
        Some(shown @ Shown::Session(claims)) => {
            verify(app, Some(claims)).await.map(|(_, principal, _)| (shown, principal)).map_err(Problem::from)
        }
        Some(shown @ Shown::ApiKey(key)) => {
            api_key_gate::verify(app, &key).await.map(|principal| (shown, principal)).map_err(Problem::from)
        }
        None => Err(Problem::new(Code::Unauthenticated)),
    };
    match principal {
        Ok((shown, principal)) => {
            request.extensions_mut().insert(shown);
            request.extensions_mut().insert(principal);
            then(principal, request).await
        }
        Err(problem) => problem.into_response(),
    }
}

impl From<SessionError> for Problem {
    fn from(error: SessionError) -> Self {
        match error {
            SessionError::Invalid => Self::new(Code::Unauthenticated),
            SessionError::Unavailable(error) => error.into(),
        }
    }
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
    app.session_checks().count(result, |&result| metrics::counter!("agentapi_session_checks_total", "result" => result));
    verified
}

/// The limits that a request of `user`, or of nobody who is known, meets, if any are on.
pub(super) async fn limits(app: &App, user: Option<(TenantId, UserId)>, address: IpAddr) -> Option<Vec<Limit>> {
    Some(app.limiter.as_ref()?.limits(user, address).await)
}

pub(super) fn address(request: &Request) -> IpAddr {
    let ClientIp(address) = request.extensions().get().copied().expect("client_ip runs before the gate");
    address
}

/// The token of an `Authorization: Bearer` header; the scheme in any case, by RFC 9110.
pub(super) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}
