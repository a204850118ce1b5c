//! Requests about an agent that lives on another server are passed on to it, and its answer passes through.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use chrono::Utc;
use tower_http::request_id::RequestId;

use super::App;
use super::extract::Path;
use super::forwarded::{FORWARDED, Forwarded, REQUEST_ID, credential};
use super::forwarded_events::WholeEvents;
use super::problem::{Code, Problem, RETRY_AFTER};
use super::shown::Shown;
use crate::agent::Whereabouts;
use crate::domain::{AgentId, Principal, ReplicaId, Service};
use crate::outbound::{self, OutboundError, Timeouts};

/// Times for a read: the owner answers from memory or from Postgres.
const READ: Timeouts = Timeouts { total: Duration::from_secs(8), attempt: Duration::from_secs(4) };

/// Times for a request that may have to wait for the agent: somewhat less than this server may take.
const WRITE: Timeouts = Timeouts { total: Duration::from_secs(29), attempt: Duration::from_secs(29) };

/// Headers that concern one connection (RFC 9110, 7.6.1), or that each server says for itself.
const OWN_HEADERS: [HeaderName; 9] = [
    header::CONNECTION,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::EXPECT,
    header::VARY,
];

/// Lets a request through if its agent lives here, or nowhere; otherwise asks the server where it lives.
pub(super) async fn answer(app: &App, principal: Principal, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    let id = Path::from_request_parts(&mut parts, app).await;
    let request = Request::from_parts(parts, body);
    match id {
        Ok(Path(id)) if app.agents.is_here(&principal, id) => next.run(request).await,
        // Boxed: room for calls would else be moved about in memory by every request that makes none.
        Ok(Path(id)) => Box::pin(answer_elsewhere(app, &principal, id, request, next)).await,
        Err(problem) => problem.into_response(),
    }
}

async fn answer_elsewhere(app: &App, principal: &Principal, id: AgentId, request: Request, next: Next) -> Response {
    let is_read = request.method() == Method::GET;
    if request.extensions().get::<Forwarded>().is_some() {
        // Reads may have been forwarded using a stale cached owner. Writes are forwarded only after reading the owner from Postgres.
        return if is_read { Problem::new(Code::AgentNotHere).into_response() } else { next.run(request).await };
    }
    let (parts, body) = request.into_parts();
    let before = if is_read { ask_remembered(app, principal, id, &parts).await } else { None };
    if let Some((_, Asked::Answered(answer))) = before {
        return answer;
    }
    let owner = match app.agents.whereabouts(principal, id).await {
        Ok(Whereabouts::Elsewhere(owner)) => owner,
        Ok(Whereabouts::Here | Whereabouts::Nowhere) => return next.run(Request::from_parts(parts, body)).await,
        Err(error) => return Problem::from(error).into_response(),
    };
    match before {
        // It was remembered rightly, and there is no more to be had.
        Some((asked, outcome)) if asked == owner => told(outcome, parts, next).await,
        _ => {
            let outcome = ask(app, owner, &parts, body).await;
            told(outcome, parts, next).await
        }
    }
}

/// What came of a request that was passed on.
enum Asked {
    /// The owner's answer.
    Answered(Response),
    /// The agent does not live there.
    NotThere,
    /// No answer came.
    Failed(Problem),
}

/// Asks the server that is remembered to be an agent's, if one is. Without an answer it is forgotten.
async fn ask_remembered(app: &App, principal: &Principal, id: AgentId, parts: &Parts) -> Option<(ReplicaId, Asked)> {
    let owner = app.agents.remembered_owner(principal, id)?;
    let outcome = ask(app, owner, parts, Body::empty()).await;
    if !matches!(outcome, Asked::Answered(_)) {
        app.agents.forget_owner(principal, id);
    }
    Some((owner, outcome))
}

/// The answer to who asked.
async fn told(outcome: Asked, parts: Parts, next: Next) -> Response {
    match outcome {
        Asked::Answered(answer) => answer,
        // It begins or ends a life at this moment: what is written of it can be told here as well.
        Asked::NotThere => next.run(Request::from_parts(parts, Body::empty())).await,
        // What was said is written down.
        Asked::Failed(_) if is_history(&parts) => next.run(Request::from_parts(parts, Body::empty())).await,
        Asked::Failed(problem) => problem.or_detail("the agent lives on another server, which does not answer").into_response(),
    }
}

async fn ask(app: &App, owner: ReplicaId, parts: &Parts, body: Body) -> Asked {
    match try_ask(app, owner, parts, body).await {
        Ok(answer) if answer.status() == Code::AgentNotHere.status() => Asked::NotThere,
        Ok(answer) => Asked::Answered(answer),
        Err(problem) => Asked::Failed(problem),
    }
}

async fn try_ask(app: &App, owner: ReplicaId, parts: &Parts, body: Body) -> Result<Response, Problem> {
    let gone = || Problem::new(Code::ServiceUnavailable).with_retry_after(RETRY_AFTER);
    let url = app.replicas.url(owner).await?.ok_or_else(gone)?;
    app.replicas.check_open_circuit(owner).await;
    let request = forwarded(app, owner, &url, parts, body)?;
    let timeouts = if parts.method == Method::GET { READ } else { WRITE };
    tokio::select! {
        answer = app.outbound.call_within(Service::Replica(owner), request, timeouts) => answer.map(|answer| pass_back(app, owner, answer)).map_err(problem),
        () = app.replicas.gone(owner) => Err(gone()),
    }
}

/// The owner may be starting again, or be dead, which is known soon: it is worth another try either way.
fn problem(error: OutboundError) -> Problem {
    match error {
        OutboundError::Connect(_) | OutboundError::Unresolved(_) | OutboundError::Broken(_) | OutboundError::Timeout => {
            Problem::new(Code::ServiceUnavailable).with_retry_after(RETRY_AFTER).with_cause(error.to_string())
        }
        error => error.into(),
    }
}

/// The request as the owner gets it: with a grant in place of the caller's credential, which no other server needs to see.
fn forwarded(
    app: &App,
    owner: ReplicaId,
    url: &str,
    parts: &Parts,
    body: Body,
) -> Result<hyper::Request<outbound::Body>, Problem> {
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    let uri: Uri = format!("{url}{path}").parse().map_err(|_| Problem::internal("a server's URL is none"))?;
    let id = parts.extensions.get::<RequestId>().and_then(|id| id.header_value().to_str().ok()?.parse().ok());
    let id = id.ok_or_else(|| Problem::internal("a request has no id"))?;
    let shown = parts.extensions.get::<Shown>().ok_or_else(|| Problem::internal("a request has no credential"))?;
    if matches!(shown, Shown::Session(_)) && !app.sessions.are_shared() {
        return Err(Problem::new(Code::ServiceUnavailable)
            .with_detail("the agent lives on another server, which cannot verify the session: SESSION_STORAGE is memory"));
    }
    let grant = app.replicas.grant(owner, credential(shown), id, (parts.method.as_str(), path), Utc::now());
    let grant = HeaderValue::from_str(&grant).map_err(|_| Problem::internal("a grant is no header"))?;
    let bodiless = parts.method == Method::GET || parts.method == Method::DELETE;
    let body = if bodiless { outbound::Body::empty() } else { outbound::Body::stream(body) };
    let mut request = hyper::Request::new(body);
    *request.method_mut() = parts.method.clone();
    *request.uri_mut() = uri;
    *request.headers_mut() = without_own(&parts.headers);
    for credential in [header::AUTHORIZATION, header::COOKIE] {
        request.headers_mut().remove(credential);
    }
    // It is for this server to say which pages may read the answer.
    request.headers_mut().remove(header::ORIGIN);
    if bodiless {
        request.headers_mut().remove(header::CONTENT_LENGTH);
    }
    request.headers_mut().insert(FORWARDED, grant);
    Ok(request)
}

/// The owner's answer, as the client gets it. It comes only as fast as the client takes it. A stream of events ends in order, after a
/// whole event, whatever ends it; also if one of the two servers stops.
fn pass_back(app: &App, owner: ReplicaId, answer: hyper::Response<outbound::Body>) -> Response {
    let (parts, body) = answer.into_parts();
    let is_events = parts.headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind == "text/event-stream");
    let body = if is_events {
        let (replicas, stopping) = (app.replicas.clone(), app.lifecycle.stopping());
        let end = async move {
            tokio::select! {
                () = stopping.cancelled() => {}
                () = replicas.gone(owner) => {}
            }
        };
        // Clients connect again and resume after the last event.
        Body::from_stream(WholeEvents::new(Body::new(body).into_data_stream(), Box::pin(end)))
    } else {
        Body::new(body)
    };
    let mut answer = Response::new(body);
    *answer.status_mut() = parts.status;
    *answer.headers_mut() = without_own(&parts.headers);
    answer.headers_mut().remove(REQUEST_ID);
    answer
}

/// Those headers that are passed on.
fn without_own(headers: &HeaderMap) -> HeaderMap {
    let mut kept = headers.clone();
    // A connection may name more headers that are its own.
    let named = headers.get_all(header::CONNECTION).iter().filter_map(|value| value.to_str().ok());
    for name in named.flat_map(|value| value.split(',')).map(str::trim) {
        kept.remove(name);
    }
    for name in OWN_HEADERS {
        kept.remove(name);
    }
    kept
}

fn is_history(parts: &Parts) -> bool {
    parts.method == Method::GET && parts.uri.path().ends_with("/messages")
}
