//! JSON answers, which name their schema, and error answers (RFC 9457), in the form of coder/agentapi.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::Value;

/// Where the schemas of answers are, as the client reaches this server.
pub(super) struct Schemas {
    base: String,
}

impl<S: Send + Sync> FromRequestParts<S> for Schemas {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let host = parts.headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        let scheme = if host.starts_with("localhost") || host.starts_with("127.0.0.1") { "http" } else { "https" };
        Ok(Self { base: format!("{scheme}://{host}/schemas/") })
    }
}

/// A body with the name of its schema before it.
#[derive(Serialize)]
struct Described<T> {
    #[serde(rename = "$schema")]
    schema: String,
    #[serde(flatten)]
    body: T,
}

impl Schemas {
    /// An answer whose body is a `name` of the API document.
    pub(super) fn reply(&self, name: &str, body: impl Serialize) -> Response {
        self.write(StatusCode::OK, "application/json", name, body)
    }

    /// An error answer.
    pub(super) fn refuse(&self, refusal: Refusal) -> Response {
        self.write(refusal.status, "application/problem+json", "ErrorModel", refusal.into_body())
    }

    fn write(&self, status: StatusCode, media_type: &'static str, name: &str, body: impl Serialize) -> Response {
        let body = Described { schema: format!("{}{name}.json", self.base), body };
        let mut text = serde_json::to_string(&body).expect("plain values always serialise");
        text.push('\n');
        let link = format!("</schemas/{name}.json>; rel=\"describedBy\"");
        let headers =
            [(header::CONTENT_TYPE, media_type.to_owned()), (header::LINK, link), (header::CACHE_CONTROL, "no-store".to_owned())];
        (status, headers, text).into_response()
    }
}

/// Why a request is refused.
#[derive(Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    detail: String,
    errors: Vec<Fault>,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Fault {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) message: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) location: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) value: Option<Value>,
}

#[derive(Serialize)]
struct ErrorModel {
    title: &'static str,
    status: u16,
    detail: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<Fault>,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self { status, detail: detail.into(), errors: Vec::new() }
    }

    /// The request is not as it must be.
    pub(super) fn invalid(status: StatusCode, errors: Vec<Fault>) -> Self {
        Self { errors, ..Self::new(status, "validation failed") }
    }

    /// The request is in order, and cannot be served.
    pub(super) fn failed(message: impl Into<String>) -> Self {
        let error = Fault { message: Some(message.into()), location: None, value: None };
        Self { errors: vec![error], ..Self::new(StatusCode::INTERNAL_SERVER_ERROR, "unexpected error occurred") }
    }

    fn into_body(self) -> ErrorModel {
        let title = match self.status {
            // As the status was called when the protocol was made.
            StatusCode::PAYLOAD_TOO_LARGE => "Request Entity Too Large",
            status => status.canonical_reason().unwrap_or_default(),
        };
        ErrorModel { title, status: self.status.as_u16(), detail: self.detail, errors: self.errors }
    }
}

impl Fault {
    /// `message` about what stands at `location`.
    pub(super) fn at(location: &str, message: impl Into<String>, value: Value) -> Self {
        Self { message: Some(message.into()), location: Some(location.to_owned()), value: Some(value) }
    }
}
