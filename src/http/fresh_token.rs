//! `x-session-token`: the token to use from now on, told to whoever showed one that an old key sealed.

use axum::http::{HeaderName, HeaderValue, header};
use axum::response::Response;

use crate::session::Token;

const HEADER: HeaderName = HeaderName::from_static("x-session-token");

/// The answer, with `token` if there is one.
pub(super) fn with(mut response: Response, token: Option<Token>) -> Response {
    let Some(mut value) = token.and_then(|token| HeaderValue::from_str(token.expose()).ok()) else {
        return response;
    };
    value.set_sensitive(true);
    response.headers_mut().insert(HEADER, value);
    // Whatever the answer is, nobody but its reader may keep it now.
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
