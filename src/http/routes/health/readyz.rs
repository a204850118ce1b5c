//! `GET /readyz`

use axum::extract::State;

use crate::http::App;
use crate::http::problem::{Code, Problem, ProblemBody, RETRY_AFTER};

/// Whether the server takes traffic: not while it is stopping.
#[utoipa::path(get, path = "/readyz", tag = "health", responses(
    (status = 200, description = "It does", body = String),
    (status = 503, description = "It is stopping", body = ProblemBody, content_type = "application/problem+json"),
))]
pub(super) async fn get_readyz(State(app): State<App>) -> Result<&'static str, Problem> {
    if app.lifecycle.is_stopping() {
        return Err(Problem::new(Code::ServiceUnavailable).with_detail("the server is stopping").with_retry_after(RETRY_AFTER));
    }
    Ok("ok")
}
