//! `GET /status`

use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::config::Protocol;
use crate::http::App;
use crate::http::problem::{Problem, RETRY_AFTER, whole_seconds};

/// How long a part may take to answer: the whole answer comes within two seconds, whatever hangs.
const CHECK_DEADLINE: Duration = Duration::from_millis(1500);

/// How the server is, and what it needs.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(in crate::http) struct StatusResponse {
    status: Overall,
    version: &'static str,
    uptime_seconds: u64,
    checks: Checks,
    /// Services that this server does not call at present because they failed. Says nothing of the server itself.
    open_circuits: u32,
}

/// How the server is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Overall {
    /// All is well.
    Ok,
    /// Something that requests need is away.
    Unavailable,
}

/// What the server needs.
#[derive(Debug, Clone, Serialize, ToSchema)]
struct Checks {
    redis: RedisCheck,
    postgres: Check,
}

/// How Redis is.
#[derive(Debug, Clone, Serialize, ToSchema)]
struct RedisCheck {
    #[serde(flatten)]
    check: Check,
    mode: Mode,
}

/// How a part is.
#[derive(Debug, Clone, Serialize, ToSchema)]
struct Check {
    status: Health,
    /// Time it took to answer, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    latency_ms: Option<f64>,
}

/// How a part is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Health {
    Up,
    Down,
    Disabled,
}

/// What plays Redis's role.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Mode {
    Native,
    Rest,
    Memory,
}

/// Whether the server and what it needs are well. All who ask within a second get the same answer.
#[utoipa::path(get, path = "/status", tag = "health", responses(
    (status = 200, description = "All is well", body = StatusResponse),
    (status = 503, description = "Redis or Postgres is away", body = StatusResponse),
))]
pub(super) async fn get_status(State(app): State<App>) -> Result<Response, Problem> {
    let make = || report(app.clone());
    let body = app.status().get(app.lifecycle.tasks(), make).await.ok_or_else(|| Problem::internal("the check failed"))?;
    let is_down = body.status == Overall::Unavailable;
    let mut response = ([(header::CACHE_CONTROL, "no-store")], Json(body)).into_response();
    if is_down {
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        response.headers_mut().insert(header::RETRY_AFTER, whole_seconds(RETRY_AFTER).into());
    }
    Ok(response)
}

/// Asks everything that the server needs.
async fn report(app: App) -> StatusResponse {
    let (redis, postgres) = tokio::join!(check_redis(&app), check(app.database.ping()));
    let down = redis.check.status == Health::Down || postgres.status == Health::Down;
    StatusResponse {
        status: if down { Overall::Unavailable } else { Overall::Ok },
        version: env!("CARGO_PKG_VERSION"),
        uptime_seconds: app.uptime().as_secs(),
        checks: Checks { redis, postgres },
        open_circuits: app.breakers.as_ref().map_or(0, |breakers| breakers.open().values().sum()),
    }
}

async fn check_redis(app: &App) -> RedisCheck {
    match &app.redis {
        Some(redis) => {
            let mode = match redis.protocol() {
                Protocol::Native => Mode::Native,
                Protocol::Rest => Mode::Rest,
            };
            RedisCheck { check: check(redis.ping()).await, mode }
        }
        None => RedisCheck { check: Check { status: Health::Disabled, latency_ms: None }, mode: Mode::Memory },
    }
}

async fn check<T, E>(ask: impl Future<Output = Result<T, E>>) -> Check {
    let start = Instant::now();
    match tokio::time::timeout(CHECK_DEADLINE, ask).await {
        Ok(Ok(_)) => {
            let micros = u32::try_from(start.elapsed().as_micros()).unwrap_or(u32::MAX);
            Check { status: Health::Up, latency_ms: Some(f64::from(micros) / 1000.0) }
        }
        Ok(Err(_)) | Err(_) => Check { status: Health::Down, latency_ms: None },
    }
}
