//! Requests that another server of this deployment passed on, because the agent they are about lives here.

use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue};
use chrono::Utc;

use super::App;
use crate::replica::Grant;

/// What the other server vouches for.
pub(super) const GRANT: HeaderName = HeaderName::from_static("x-agentapi-passed-on");

pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// A request that says that it was passed on. It is answered here or not at all: no request is passed on twice.
#[derive(Debug, Clone, Copy)]
pub(super) enum PassedOn {
    /// By a server of this deployment.
    Granted(Grant),
    /// By somebody else.
    Forged,
}

/// Reads the grant. A request's id is that of the server it first came to: ours, or that of who passed it on, never the client's.
pub(super) fn recognise(app: &App, mut request: Request) -> Request {
    request.headers_mut().remove(REQUEST_ID);
    if let Some(grant) = request.headers_mut().remove(GRANT) {
        let passed_on = read(app, &grant, &request);
        if let PassedOn::Granted(grant) = passed_on
            && let Ok(id) = HeaderValue::from_str(&grant.request_id.to_string())
        {
            request.headers_mut().insert(REQUEST_ID, id);
        }
        request.extensions_mut().insert(passed_on);
    }
    request
}

fn read(app: &App, grant: &HeaderValue, request: &Request) -> PassedOn {
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    let read = |text| Grant::read(text, &app.keys, app.replicas.id(), request.method().as_str(), path, Utc::now()).ok();
    grant.to_str().ok().and_then(read).map_or(PassedOn::Forged, PassedOn::Granted)
}
