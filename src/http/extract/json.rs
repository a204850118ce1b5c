//! A JSON body.

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, header};
use serde::de::DeserializeOwned;

use crate::http::problem::{Code, Problem};

/// A body of type `T`. Unknown fields are refused where `T` says so.
#[derive(Debug)]
pub(in crate::http) struct Json<T>(pub(in crate::http) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        if !is_json(request.headers()) {
            return Err(Problem::new(Code::UnsupportedMediaType).with_detail("expected application/json"));
        }
        // What fails here is the length or the connection; only the length can still be told.
        let body = Bytes::from_request(request, state).await.map_err(|_| Problem::new(Code::PayloadTooLarge))?;
        parse(&body).map(Self)
    }
}

/// Whether the body is JSON: it says so, or says nothing.
fn is_json(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(header::CONTENT_TYPE) else {
        return true;
    };
    let essence = value.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json" || essence.ends_with("+json")
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    if body.is_empty() {
        return Err(Problem::new(Code::InvalidRequest).with_detail("a body is required"));
    }
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| refusal(&error))?;
    deserializer.end().map_err(|error| syntax(&error))?;
    Ok(value)
}

fn refusal(error: &serde_path_to_error::Error<serde_json::Error>) -> Problem {
    let (path, cause) = (error.path().to_string(), error.inner());
    if !cause.is_data() {
        return syntax(cause);
    }
    let location = if path == "." { "body".to_owned() } else { format!("body.{path}") };
    Problem::field(location, without_position(&cause.to_string()))
}

fn syntax(error: &serde_json::Error) -> Problem {
    Problem::new(Code::InvalidRequest).with_detail(format!("the body is not JSON: {error}"))
}

/// The message without serde's position, which the location already tells better.
fn without_position(message: &str) -> String {
    message.rsplit_once(" at line ").map_or(message, |(what, _)| what).to_owned()
}
