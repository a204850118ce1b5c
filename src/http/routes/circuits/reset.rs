//! `POST /v1/circuits/{service}/reset`

use axum::extract::State;
use axum::http::StatusCode;

use crate::domain::Service;
use crate::http::App;
use crate::http::extract::{Operator, Path};
use crate::http::problem::{Problem, ProblemBody};
use crate::postgres::{Action, AuditEntry};

/// Closes the circuit of a service: its calls pass again at once here, and within some seconds elsewhere.
#[utoipa::path(post, path = "/v1/circuits/{service}/reset", tag = "circuits", security(("bearer" = [])),
    params(("service" = String, Path, description = "The service, as it is listed",
        example = "agent:01a2062c-04f8-7444-9c7c-b4f464bb3ba1")),
    responses(
        (status = 204, description = "It is closed"),
        (status = 403, description = "I am no operator", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "This names no service", body = ProblemBody, content_type = "application/problem+json"),
        (status = "default", description = "A problem", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn reset_circuit(
    State(app): State<App>,
    Operator(principal): Operator,
    Path(service): Path<Service>,
) -> Result<StatusCode, Problem> {
    if let Some(breakers) = &app.breakers {
        breakers.reset(service).await?;
        let entry = AuditEntry::by(principal.user, Action::CircuitReset, service.to_string());
        app.database.record(principal.scope, &entry).await?;
    }
    Ok(StatusCode::NO_CONTENT)
}
