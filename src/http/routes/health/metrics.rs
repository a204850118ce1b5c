//! `GET /metrics`

use axum::body::Bytes;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;

use crate::circuit_breaker::CircuitBreakers;
use crate::http::App;

/// The server's metrics in Prometheus' text format.
#[utoipa::path(get, path = "/metrics", tag = "health", responses((status = 200, description = "The metrics", body = String)))]
pub(super) async fn get_metrics(State(app): State<App>) -> impl IntoResponse {
    let text = app.rendered_metrics().get(|| render(&app)).await;
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text)
}

fn render(app: &App) -> Bytes {
    let keys = app.sessions.keys();
    metrics::counter!("agentapi_seals_total", "key_id" => keys.current().to_string()).absolute(keys.seals());
    for (kind, open) in app.breakers.iter().flat_map(CircuitBreakers::open) {
        metrics::gauge!("agentapi_circuits_open", "kind" => kind).set(open);
    }
    metrics::gauge!("agentapi_login_queue_waiting").set(gauge(app.hashing().waiting()));
    let (busy, idle) = app.connections.count();
    for (state, count) in [("busy", busy), ("idle", idle)] {
        metrics::gauge!("agentapi_connections", "state" => state).set(gauge(count));
    }
    app.metrics.render().into()
}

/// A count as gauges take it.
fn gauge(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}
