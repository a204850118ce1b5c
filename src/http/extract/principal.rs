//! The caller, whom the gate has verified.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use crate::domain::Principal;
use crate::http::problem::{Code, Problem};
use crate::session::Session;

impl<S: Send + Sync> FromRequestParts<S> for Principal {
    type Rejection = Problem;

    /// Refuses where no gate has let somebody in: a route outside the gate cannot forget to ask.
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        parts.extensions.get().copied().ok_or(Problem::new(Code::Unauthenticated))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Session {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        parts.extensions.get().copied().ok_or(Problem::new(Code::Unauthenticated))
    }
}
