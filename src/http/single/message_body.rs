//! The body of `POST /message`: read within bounds, and validated with all that is wrong with it.

use std::error::Error;
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode, header};
use http_body_util::LengthLimitError;
use serde_json::{Map, Value};
use tokio::time::timeout;

use super::reply::{Fault, Refusal};

/// Bodies of this size are refused, smaller ones are not.
const LIMIT_BYTES: usize = 1024 * 1024;
/// How long a client may take to send a body.
const READ_TIMEOUT: Duration = Duration::from_secs(5);

/// Something to say to the agent.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct MessageBody {
    pub(super) content: String,
    pub(super) kind: MessageType,
}

/// How it is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MessageType {
    /// As a message of the conversation.
    User,
    /// As keystrokes.
    Raw,
}

/// Reads and validates the body.
pub(super) async fn read(request: Request) -> Result<MessageBody, Refusal> {
    let (head, body) = request.into_parts();
    let body = read_bytes(body).await?;
    if body.is_empty() {
        return Err(Refusal::new(StatusCode::BAD_REQUEST, "request body is required"));
    }
    let raw = || Value::from(String::from_utf8_lossy(&body).into_owned());
    if let Some(unknown) = unknown_type(&head.headers) {
        let fault = Fault::at("body", format!("unknown content type: {unknown}"), raw());
        return Err(Refusal::invalid(StatusCode::UNSUPPORTED_MEDIA_TYPE, vec![fault]));
    }
    match serde_json::from_slice(&body) {
        Ok(value) => parse(value).map_err(|faults| Refusal::invalid(StatusCode::UNPROCESSABLE_ENTITY, faults)),
        Err(error) => Err(Refusal::invalid(StatusCode::BAD_REQUEST, vec![Fault::at("body", error.to_string(), raw())])),
    }
}

async fn read_bytes(body: Body) -> Result<Bytes, Refusal> {
    let read = timeout(READ_TIMEOUT, to_bytes(body, LIMIT_BYTES - 1)).await;
    let read = read.map_err(|_| Refusal::new(StatusCode::REQUEST_TIMEOUT, "request body read timeout"))?;
    read.map_err(|error| {
        let too_large = error.source().is_some_and(<dyn Error + 'static>::is::<LengthLimitError>);
        if too_large {
            Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, format!("request body is too large limit={LIMIT_BYTES} bytes"))
        } else {
            Refusal::new(StatusCode::BAD_REQUEST, "cannot read request body")
        }
    })
}

/// The body's media type, if it is not JSON. Nothing said means JSON.
fn unknown_type(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::CONTENT_TYPE)?.to_str().unwrap_or_default();
    let essence = value.split(';').next().unwrap_or_default().trim();
    let known = essence.is_empty() || essence == "application/json" || essence == "json" || essence.ends_with("+json");
    (!known).then(|| essence.to_owned())
}

/// Names are compared without case; of two that are the same so, the one written as documented counts.
fn parse(value: Value) -> Result<MessageBody, Vec<Fault>> {
    let Value::Object(object) = &value else { return Err(vec![Fault::at("body", "expected object", value)]) };
    let mut faults = Vec::new();
    let content = text(object, "content", &value, &mut faults);
    let kind = text(object, "type", &value, &mut faults);
    let kind = kind.and_then(|kind| match kind {
        "user" => Some(MessageType::User),
        "raw" => Some(MessageType::Raw),
        // Clients know this one by having no message.
        _ => {
            faults.push(Fault { message: None, location: Some("body.type".to_owned()), value: Some(kind.into()) });
            None
        }
    });
    let known = ["content", "type", "$schema"];
    for name in object.keys().filter(|name| !known.iter().any(|known| known.eq_ignore_ascii_case(name))) {
        faults.push(Fault::at(&format!("body.{name}"), "unexpected property", value.clone()));
    }
    match (content, kind) {
        (Some(content), Some(kind)) if faults.is_empty() => Ok(MessageBody { content: content.to_owned(), kind }),
        _ => Err(faults),
    }
}

fn text<'a>(object: &'a Map<String, Value>, name: &str, whole: &Value, faults: &mut Vec<Fault>) -> Option<&'a str> {
    let any_case = || object.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value);
    match object.get(name).or_else(any_case) {
        Some(Value::String(text)) => Some(text),
        Some(other) => {
            faults.push(Fault::at(&format!("body.{name}"), "expected string", other.clone()));
            None
        }
        None => {
            faults.push(Fault::at("body", format!("expected required property {name} to be present"), whole.clone()));
            None
        }
    }
}
