//! `GET /v1/circuits`

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use crate::circuit_breaker::{KnownCircuit, Phase};
use crate::http::App;
use crate::http::extract::{CircuitsPage, Operator, Query};
use crate::http::problem::{Problem, ProblemBody, whole_seconds};

/// Circuits that are not closed.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct CircuitsResponse {
    items: Vec<CircuitBody>,
    /// What to ask for as `after`, if there is more.
    next: Option<String>,
    /// Whether these are those of all servers; else Redis is away, and they are this server's own.
    shared: bool,
}

/// A circuit.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Circuit)]
struct CircuitBody {
    #[schema(example = "agent:01a2062c-04f8-7444-9c7c-b4f464bb3ba1")]
    service: String,
    #[schema(example = "agent")]
    kind: &'static str,
    /// What the next call meets: `open`, it is refused; `half_open`, it may try the service.
    #[schema(example = "open")]
    state: &'static str,
    /// Times that it opened in a row without closing; 5 stands for 5 or more.
    opens: u32,
    /// Seconds until it may be tried.
    retry_after: u64,
}

impl From<KnownCircuit> for CircuitBody {
    fn from(KnownCircuit { service, circuit }: KnownCircuit) -> Self {
        let phase = circuit.phase_of_next_call();
        let retry_after = match phase {
            Phase::Open => whole_seconds(Duration::from_millis(circuit.wait_ms)),
            Phase::HalfOpen | Phase::Closed => 0,
        };
        let (kind, state) = (service.kind(), phase.as_str());
        Self { service: service.to_string(), kind, state, opens: circuit.opens, retry_after }
    }
}

/// Circuits that are not closed: services that are not called, or only tried, because they failed.
#[utoipa::path(get, path = "/v1/circuits", tag = "circuits", security(("bearer" = [])), params(CircuitsPage), responses(
    (status = 200, description = "Circuits that are not closed", body = CircuitsResponse),
    (status = 403, description = "I am no operator", body = ProblemBody, content_type = "application/problem+json"),
    (status = "default", description = "A problem", body = ProblemBody, content_type = "application/problem+json"),
))]
pub(super) async fn list_circuits(
    State(app): State<App>,
    Operator(_): Operator,
    Query(page): Query<CircuitsPage>,
) -> Result<Json<CircuitsResponse>, Problem> {
    let limit = usize::from(page.limit.get());
    let (circuits, shared) = match &app.breakers {
        Some(breakers) => breakers.list(page.after, limit).await,
        None => (Vec::new(), true),
    };
    let next = circuits.last().filter(|_| circuits.len() == limit).map(|last| last.service.to_string());
    Ok(Json(CircuitsResponse { items: circuits.into_iter().map(CircuitBody::from).collect(), next, shared }))
}
