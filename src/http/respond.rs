//! The outermost layer: a span a request, how long it may wait for Redis, one log line, the metrics, and the body of every error
//! answer. The first of these is that of a request which is not for this host: to ask that in a layer of its own would copy all the
//! layers within once more. The same holds for reading the grant of a request that another server forwarded, which gives it its id.

use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tower_http::request_id::RequestId;
use tracing::Instrument;

use super::problem::{Code, Problem};
use super::{App, forwarded, gate, host};
use crate::redis;

/// Media type of an error answer.
const PROBLEM_JSON: HeaderValue = HeaderValue::from_static("application/problem+json");

/// Answers are of their moment and for who asked; what may be kept says so itself.
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// Answers with what comes from within, its errors written out as problems.
pub(super) async fn respond(State(app): State<App>, request: Request, next: Next) -> Response {
    let start = Instant::now();
    let says_forwarded = request.headers().contains_key(forwarded::FORWARDED);
    let request = if says_forwarded {
        // Boxed: the few requests that have the header would else make the future of all others larger.
        Box::pin(forwarded::recognise(&app, request)).await
    } else {
        request
    };
    let (id, route) = (request.extensions().get::<RequestId>().cloned(), request.extensions().get::<MatchedPath>().cloned());
    let id = id.as_ref().and_then(|id| id.header_value().to_str().ok()).unwrap_or_default();
    let route = route.as_ref().map_or("unmatched", MatchedPath::as_str);
    let method = request.method().clone();
    let span = tracing::info_span!("http.request", request.id = %id, http.method = %method, http.route = %route);
    let response = match host::refusal(&app, &request) {
        Some(problem) => problem.into_response(),
        None => redis::of_request(run(&app, request, next)).instrument(span.clone()).await,
    };
    let (mut response, problem) = write_problem(response, id);
    // The layer outside knows another id of a request that was forwarded.
    if says_forwarded && let Ok(id) = HeaderValue::from_str(id) {
        response.headers_mut().insert(forwarded::REQUEST_ID, id);
    }
    response.headers_mut().entry(header::CACHE_CONTROL).or_insert(NO_STORE);
    let (status, elapsed) = (response.status(), start.elapsed());
    span.in_scope(|| log(status.as_u16(), elapsed.as_secs_f64(), route, problem.as_ref()));
    app.request_metrics().record(&method, route, status, elapsed);
    response
}

/// Runs the layers within. What asks whether a page may call, which no route and so no gate answers, is limited by address here.
async fn run(app: &App, request: Request, next: Next) -> Response {
    match *request.method() {
        Method::OPTIONS => gate::limited_by_address(app, request, |request| next.run(request)).await,
        _ => next.run(request).await,
    }
}

/// One line a request; probes and scrapes, which come every few seconds, only where somebody asks for more.
fn log(status: u16, seconds: f64, route: &str, problem: Option<&Problem>) {
    let code = problem.map(|problem| problem.code.as_str());
    match problem.and_then(|problem| problem.cause.as_deref()) {
        Some(cause) if status == 500 => tracing::error!(status, seconds, code, cause, "failed"),
        Some(cause) => tracing::warn!(status, seconds, code, cause, "could not be served"),
        None if matches!(route, "/status" | "/livez" | "/readyz" | "/metrics") => {
            tracing::debug!(status, seconds, code, "answered");
        }
        None => tracing::info!(status, seconds, code, "answered"),
    }
}

/// Writes the body of an error answer, also of one that a library made (no such route, wrong method, body too large).
fn write_problem(mut response: Response, request_id: &str) -> (Response, Option<Problem>) {
    let problem = match response.extensions_mut().remove::<Problem>() {
        Some(problem) => problem,
        // A handler's own answer, such as that of `/status`, is whole; so is what another server answered.
        None if response.status().as_u16() < 400 || has_body(response.headers()) => return (response, None),
        None => Problem::new(Code::of_status(response.status())),
    };
    // What else was said about the answer stays: Allow, Retry-After, rate limits.
    let mut headers = std::mem::take(response.headers_mut());
    drop_body_headers(&mut headers);
    let mut written = (response.status(), axum::Json(problem.body(request_id))).into_response();
    headers.insert(header::CONTENT_TYPE, PROBLEM_JSON);
    headers.insert(header::CACHE_CONTROL, NO_STORE);
    *written.headers_mut() = headers;
    (written, Some(problem))
}

fn has_body(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE);
    kind.is_some_and(|kind| kind == PROBLEM_JSON || kind.as_bytes().starts_with(b"application/json"))
}

fn drop_body_headers(headers: &mut HeaderMap) {
    for name in [header::CONTENT_LENGTH, header::CONTENT_TYPE, header::CONTENT_ENCODING, header::TRANSFER_ENCODING] {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;

    use super::*;

    #[test]
    fn an_answer_without_a_body_that_a_layer_made_becomes_a_problem() {
        for (status, code) in [(504, Code::DeadlineExceeded), (405, Code::MethodNotAllowed)] {
            let status = StatusCode::from_u16(status).expect("a status");
            let (response, problem) = write_problem(status.into_response(), "an id");
            assert_eq!(problem.map(|problem| problem.code), Some(code));
            assert_eq!((response.status(), &response.headers()[header::CONTENT_TYPE]), (status, &PROBLEM_JSON));
        }
    }
}
