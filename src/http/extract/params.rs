//! Parameters in the path and in the query.

use std::str::FromStr;

use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use super::paging::Limit;
use crate::domain::{AgentId, ApiKeyId, ApprovalId, ApprovalState, Service};
use crate::http::problem::{Code, Problem};

/// What the path names. A text that is no id names nothing: 404.
#[derive(Debug)]
pub(in crate::http) struct Path<T>(pub(in crate::http) T);

/// The same of the second name in the path.
#[derive(Debug)]
pub(in crate::http) struct Second<T>(pub(in crate::http) T);

impl<S: Send + Sync, T: FromStr> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        named(parts, state, 0).await.map(Self)
    }
}

impl<S: Send + Sync, T: FromStr> FromRequestParts<S> for Second<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        named(parts, state, 1).await.map(Self)
    }
}

async fn named<S: Send + Sync, T: FromStr>(parts: &mut Parts, state: &S, place: usize) -> Result<T, Problem> {
    let not_found = || Problem::new(Code::NotFound);
    let params = RawPathParams::from_request_parts(parts, state).await.map_err(|_| not_found())?;
    let (_, text) = params.iter().nth(place).ok_or_else(not_found)?;
    text.parse().map_err(|_| not_found())
}

/// The query, of type `T`.
#[derive(Debug)]
pub(in crate::http) struct Query<T>(pub(in crate::http) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let query = parts.uri.query().unwrap_or_default();
        let deserializer = serde_urlencoded::Deserializer::new(form_urlencoded::parse(query.as_bytes()));
        serde_path_to_error::deserialize(deserializer).map(Self).map_err(|error| {
            let path = error.path().to_string();
            let location = if path == "." { "query".to_owned() } else { format!("query.{path}") };
            Problem::field(location, error.into_inner().to_string())
        })
    }
}

/// A page of a list: `?limit=&after=`.
#[derive(Debug, serde::Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct Page {
    /// Items a page.
    #[serde(default)]
    #[param(inline, required = false)]
    pub(in crate::http) limit: Limit<20>,
    /// `next` of the page before.
    #[serde(default)]
    #[param(value_type = Option<String>)]
    pub(in crate::http) after: Option<AgentId>,
}

/// A page of the list of API keys: `?limit=&after=`.
#[derive(Debug, serde::Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct ApiKeysPage {
    /// Items a page.
    #[serde(default)]
    #[param(inline, required = false)]
    pub(in crate::http) limit: Limit<20>,
    /// `next` of the page before.
    #[serde(default)]
    #[param(value_type = Option<String>)]
    pub(in crate::http) after: Option<ApiKeyId>,
}

/// A page of what an agent asked leave for: `?state=&limit=&after=`.
#[derive(Debug, serde::Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct ApprovalsPage {
    /// Those in this state only.
    #[serde(default)]
    pub(in crate::http) state: Option<ApprovalState>,
    /// Items a page.
    #[serde(default)]
    #[param(inline, required = false)]
    pub(in crate::http) limit: Limit<20>,
    /// `next` of the page before.
    #[serde(default)]
    #[param(value_type = Option<String>)]
    pub(in crate::http) after: Option<ApprovalId>,
}

/// A page of a timeline, or its stream: `?limit=&after=&stream=`.
#[derive(Debug, serde::Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct TimelinePage {
    /// Items a page.
    #[serde(default)]
    #[param(inline, required = false)]
    pub(in crate::http) limit: Limit<50>,
    /// `next` of the page before: the id of its last entry.
    #[serde(default)]
    pub(in crate::http) after: Option<i64>,
    /// Whether to be told as it happens, by events; the same as `Accept: text/event-stream`.
    #[serde(default)]
    pub(in crate::http) stream: bool,
}

/// A page of the list of circuits: `?limit=&after=`.
#[derive(Debug, serde::Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct CircuitsPage {
    /// Items a page.
    #[serde(default)]
    #[param(inline, required = false)]
    pub(in crate::http) limit: Limit<100>,
    /// `next` of the page before.
    #[serde(default, deserialize_with = "service")]
    #[param(value_type = Option<String>)]
    pub(in crate::http) after: Option<Service>,
}

fn service<'de, D: serde::Deserializer<'de>>(d: D) -> Result<Option<Service>, D::Error> {
    let text = <String as serde::Deserialize>::deserialize(d)?;
    text.parse().map(Some).map_err(serde::de::Error::custom)
}
