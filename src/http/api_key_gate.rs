//! The gate for who shows an API key.
//!
//! | the key | limits that it meets | when it is looked up |
//! |---|---|---|
//! | was good here before | its user's | beside them: one round trip, and from memory for some seconds after |
//! | is not known here | its address's; if it is good, its user's too | once the address's allows it |
//!
//! So whoever invents keys spends nobody's limits but its own address's, and once that is used up costs no look-up.

use std::net::IpAddr;

use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use chrono::Utc;

use super::problem::{Code, Problem};
use super::shown::Shown;
use super::{App, cost, gate, limit};
use crate::api_key::{ApiKeyError, ShownKey};
use crate::domain::{Principal, UserId};
use crate::rate_limit::{Identifier, Limit, Verdict};

/// The key that a request shows, if it shows one.
pub(super) fn shown(request: &Request) -> Option<ShownKey> {
    ShownKey::read(gate::bearer(request.headers())?)
}

/// Lets a limited number of requests through to `then`, if their key is good.
pub(super) async fn admit<F>(app: &App, key: ShownKey, request: Request, then: impl FnOnce(Principal, Request) -> F) -> Response
where
    F: Future<Output = Response>,
{
    let (cost, address) = (cost::of(&request), gate::address(&request));
    let (verdict, verified) = match app.api_keys.acquaintance(&key, Utc::now()) {
        Some(user) => acquaintance(app, &key, user, address, cost).await,
        None => stranger(app, &key, address, cost).await,
    };
    let response = match (&verdict, verified) {
        (Some(verdict), _) if !verdict.decision.allowed => return limit::refused(app, verdict),
        (_, Ok(principal)) => then(principal, admitted(request, key, principal)).await,
        (_, Err(error)) => Problem::from(error).into_response(),
    };
    limit::with_headers(response, app, verdict.as_ref())
}

type Checked = (Option<Verdict>, Result<Principal, ApiKeyError>);

/// Takes the limits of `user`, whose key this is, and looks it up at the same time.
async fn acquaintance(app: &App, key: &ShownKey, user: UserId, address: IpAddr, cost: u64) -> Checked {
    let limits = gate::limits(app, Some((key.tenant, user)), address).await;
    if let Some(refusal) = limit::known_refusal(app, limits.as_deref(), cost) {
        return (Some(refusal), Err(ApiKeyError::Invalid));
    }
    tokio::join!(limit::take(app, limits, cost), verify(app, key))
}

/// Takes the limit of the address, and only then looks the key up; if it is good, takes its user's limits as well.
async fn stranger(app: &App, key: &ShownKey, address: IpAddr, cost: u64) -> Checked {
    let of_address = take(app, gate::limits(app, None, address).await, cost).await;
    if of_address.as_ref().is_some_and(|verdict| !verdict.decision.allowed) {
        return (of_address, Err(ApiKeyError::Invalid));
    }
    let principal = match verify(app, key).await {
        Ok(principal) => principal,
        Err(error) => return (of_address, Err(error)),
    };
    let mut limits = gate::limits(app, Some((key.tenant, principal.user)), address).await;
    if let Some(limits) = &mut limits {
        // The address's is taken.
        limits.retain(|limit| !matches!(limit.identifier, Identifier::Ip(_)));
    }
    (take(app, limits, cost).await, Ok(principal))
}

async fn take(app: &App, limits: Option<Vec<Limit>>, cost: u64) -> Option<Verdict> {
    match limit::known_refusal(app, limits.as_deref(), cost) {
        Some(refusal) => Some(refusal),
        None => limit::take(app, limits, cost).await,
    }
}

/// Verifies a key, and counts the result.
pub(super) async fn verify(app: &App, key: &ShownKey) -> Result<Principal, ApiKeyError> {
    let verified = app.api_keys.verify(key, Utc::now()).await;
    let result = match &verified {
        Ok(_) => "valid",
        Err(ApiKeyError::Invalid) => "invalid",
        Err(ApiKeyError::Unavailable(_)) => "unavailable",
    };
    app.api_key_checks().count(result, |&result| metrics::counter!("agentapi_api_key_checks_total", "result" => result));
    verified
}

fn admitted(mut request: Request, key: ShownKey, principal: Principal) -> Request {
    request.extensions_mut().insert(Shown::ApiKey(key));
    request.extensions_mut().insert(principal);
    request
}

impl From<ApiKeyError> for Problem {
    fn from(error: ApiKeyError) -> Self {
        match error {
            ApiKeyError::Invalid => Self::new(Code::Unauthenticated),
            ApiKeyError::Unavailable(error) => error.into(),
        }
    }
}
