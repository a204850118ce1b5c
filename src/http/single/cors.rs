//! Which pages may call from a browser, answered as coder/agentapi answers it.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::{AllowedOrigins, SingleAgent};

const METHODS: [Method; 5] = [Method::GET, Method::POST, Method::PUT, Method::DELETE, Method::OPTIONS];
/// Headers that a page may send, as they are written in answers. The last is for clients that resume an event stream.
const HEADERS: [&str; 6] = ["Accept", "Authorization", "Content-Type", "X-Csrf-Token", "Origin", "Last-Event-Id"];
const TRUE: HeaderValue = HeaderValue::from_static("true");

/// Answers preflights, and tells browsers which pages may read an answer.
pub(super) async fn answer(State(app): State<SingleAgent>, request: Request, next: Next) -> Response {
    let origin = request.headers().get(header::ORIGIN).cloned();
    if request.method() == Method::OPTIONS
        && let Some(method) = request.headers().get(header::ACCESS_CONTROL_REQUEST_METHOD).cloned()
    {
        return preflight(&app.origins, origin.as_ref(), &method, request.headers());
    }
    let may_read = METHODS.contains(request.method());
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.append(header::VARY, HeaderValue::from_static("Origin"));
    if let Some(allowed) = allowed_origin(&app.origins, origin.as_ref()).filter(|_| may_read) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("Link"));
        headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, TRUE);
    }
    response
}

fn preflight(origins: &AllowedOrigins, origin: Option<&HeaderValue>, method: &HeaderValue, asked: &HeaderMap) -> Response {
    let mut response = StatusCode::OK.into_response();
    let headers = response.headers_mut();
    for name in ["Origin", "Access-Control-Request-Method", "Access-Control-Request-Headers"] {
        headers.append(header::VARY, HeaderValue::from_static(name));
    }
    let Some(allowed) = allowed_origin(origins, origin) else { return response };
    let Some(names) = allowed_headers(asked) else { return response };
    if METHODS.iter().any(|known| known.as_str().as_bytes() == method.as_bytes().to_ascii_uppercase()) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, method.clone());
        if let Ok(names) = HeaderValue::from_str(&names.join(", "))
            && !names.is_empty()
        {
            headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, names);
        }
        headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, TRUE);
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("300"));
    }
    response
}

fn allowed_origin(origins: &AllowedOrigins, origin: Option<&HeaderValue>) -> Option<HeaderValue> {
    let origin = origin?;
    match origins {
        AllowedOrigins::Any => Some(HeaderValue::from_static("*")),
        only @ AllowedOrigins::Only(_) => only.allow(origin.to_str().ok()?).then(|| origin.clone()),
    }
}

/// The headers that a page asks to send, if it may send them all.
fn allowed_headers(asked: &HeaderMap) -> Option<Vec<&'static str>> {
    const ASKED: HeaderName = header::ACCESS_CONTROL_REQUEST_HEADERS;
    let lists = asked.get_all(ASKED).iter().map(HeaderValue::to_str).collect::<Result<Vec<_>, _>>().ok()?;
    let names = lists.iter().flat_map(|list| list.split(',')).map(str::trim).filter(|name| !name.is_empty());
    names.map(|name| HEADERS.into_iter().find(|known| known.eq_ignore_ascii_case(name))).collect()
}
