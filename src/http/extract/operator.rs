//! A caller of the role that runs the deployment.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use crate::domain::{Principal, UserRole};
use crate::http::problem::{Code, Problem};

/// The caller, if it is an operator; else 403.
#[derive(Debug)]
pub(in crate::http) struct Operator(pub(in crate::http) Principal);

impl<S: Send + Sync> FromRequestParts<S> for Operator {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let principal = parts.extensions.get::<Principal>().copied().ok_or_else(|| Problem::new(Code::Unauthenticated))?;
        match principal.role {
            UserRole::Operator => Ok(Self(principal)),
            UserRole::Member | UserRole::Admin => Err(Problem::new(Code::Forbidden).with_detail("operators may do this")),
        }
    }
}
