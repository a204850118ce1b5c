//! A JSON body.

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, header};
use serde::de::DeserializeOwned;
use serde_json::Value;

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
    let value: Value = serde_json::from_slice(body)
        .map_err(|error| Problem::new(Code::InvalidRequest).with_detail(format!("the body is not JSON: {error}")))?;
    serde_path_to_error::deserialize(value).map_err(|error| {
        let path = error.path().to_string();
        let location = if path == "." { "body".to_owned() } else { format!("body.{path}") };
        Problem::field(location, error.into_inner().to_string())
    })
}
