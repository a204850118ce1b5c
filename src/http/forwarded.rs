//! Requests that another server of this deployment forwarded, because the agent they are about runs here.

use std::collections::HashSet;
use std::sync::{Arc, LazyLock};

use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderName, HeaderValue, Method, Uri};
use axum::response::{IntoResponse, Response};
use chrono::Utc;
use tower_http::request_id::RequestId;

use super::App;
use super::problem::{Code, Problem};
use super::routes;
use super::serve::Connection;
use super::shown::Shown;
use crate::api_key::ShownKey;
use crate::domain::TenantId;
use crate::replica::{ForwardedCredential, ForwardingGrant, GrantRefused};

/// Carries the grant of the server that forwards a request.
pub(super) const FORWARDED: HeaderName = HeaderName::from_static("x-agentapi-forwarded");

pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Methods and paths that servers forward to each other. On all others a grant is ignored.
static FORWARDED_ROUTES: LazyLock<HashSet<(Method, String)>> = LazyLock::new(routes::at_owner);

/// A request that says that it was forwarded. It is answered here or not at all: no request is forwarded twice.
#[derive(Debug, Clone, Copy)]
pub(super) enum Forwarded {
    /// By a server of this deployment.
    Granted(ForwardingGrant),
    /// Not by a server of this deployment, or not for this request.
    Refused(GrantRefused),
}

/// Takes away what only this server, or one that forwards to it, may say: a request's id is never the client's.
pub(super) fn without_request_id(mut request: Request) -> Request {
    request.headers_mut().remove(REQUEST_ID);
    request
}

/// Takes the grant away, and reads it where requests are forwarded and other servers can be. The request's id is then the one that the
/// other server gave it.
pub(super) async fn recognise(app: &App, mut request: Request) -> Request {
    let Some(grant) = request.headers_mut().remove(FORWARDED) else { return request };
    if !app.replicas.can_have_peers() || !is_forwarded_route(&request) {
        return request;
    }
    let (method, uri) = (request.method().clone(), request.uri().clone());
    let forwarded = match read(app, &grant, &method, &uri).await {
        Ok(grant) => Forwarded::Granted(grant),
        Err(refused) => Forwarded::Refused(refused),
    };
    if let Forwarded::Granted(grant) = forwarded {
        // Requests of many clients come through connections of other servers: they do not count for their address.
        if let Some(connection) = request.extensions().get::<Arc<Connection>>() {
            app.connections.exempt(connection);
        }
        if let Ok(id) = HeaderValue::from_str(&grant.request_id.to_string()) {
            request.extensions_mut().insert(RequestId::new(id));
        }
    }
    request.extensions_mut().insert(forwarded);
    request
}

fn is_forwarded_route(request: &Request) -> bool {
    let path = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
    path.is_some_and(|path| FORWARDED_ROUTES.contains(&(request.method().clone(), path.to_owned())))
}

async fn read(app: &App, grant: &HeaderValue, method: &Method, uri: &Uri) -> Result<ForwardingGrant, GrantRefused> {
    let text = grant.to_str().map_err(|_| GrantRefused::Malformed)?;
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    app.replicas.read_grant(text, (method.as_str(), path), Utc::now()).await
}

/// The answer to a request that was not forwarded by a server of this deployment. It is not 401: a server that forwarded it and is
/// refused, because clocks differ or keys do, would pass that on to a client whose session is valid.
pub(super) fn refused(why: GrantRefused) -> Response {
    Problem::new(Code::ForwardingRefused).with_cause(why.to_string()).into_response()
}

/// What the caller showed, as a grant names it.
pub(super) fn credential(shown: &Shown) -> (TenantId, ForwardedCredential) {
    match shown {
        Shown::Session(claims) => {
            let (id, user, issued_at) = (claims.session, claims.user, claims.issued_at);
            (claims.tenant, ForwardedCredential::Session { id, user, issued_at })
        }
        Shown::ApiKey(key) => (key.tenant, ForwardedCredential::ApiKey { id: key.id, secret: key.secret() }),
    }
}

/// What a grant says that the caller showed; nothing if it is a session that is past its absolute end, or begins in the future.
pub(super) fn shown(app: &App, grant: &ForwardingGrant) -> Option<Shown> {
    match grant.credential {
        ForwardedCredential::Session { id, user, issued_at } => {
            app.sessions.claimed(id, (grant.tenant, user), issued_at, Utc::now()).map(Shown::Session)
        }
        ForwardedCredential::ApiKey { id, secret } => Some(Shown::ApiKey(ShownKey::of_digest(grant.tenant, id, secret))),
    }
}
