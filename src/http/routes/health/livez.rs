//! `GET /livez`

use axum::extract::State;
use serde::Deserialize;

use crate::domain::ReplicaId;
use crate::http::App;
use crate::http::extract::Query;
use crate::http::problem::{Code, Problem, ProblemBody};

/// The query of a health check.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct LivezQuery {
    /// Id of the server that is meant; any other server answers 404.
    #[serde(default)]
    #[param(value_type = Option<uuid::Uuid>)]
    replica: Option<ReplicaId>,
}

/// Whether the process is alive. With `replica`, the health check of another server of the deployment.
#[utoipa::path(get, path = "/livez", tag = "health", params(LivezQuery), responses(
    (status = 200, description = "It is", body = String),
    (status = 404, description = "This is another server", body = ProblemBody, content_type = "application/problem+json"),
))]
pub(super) async fn get_livez(
    State(app): State<App>,
    Query(LivezQuery { replica }): Query<LivezQuery>,
) -> Result<&'static str, Problem> {
    match replica {
        Some(replica) if replica != app.replicas.id() => Err(Problem::new(Code::NotFound)),
        Some(_) | None => Ok("ok"),
    }
}
