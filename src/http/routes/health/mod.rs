//! Health: what probes and scrapers ask. Open to all, not limited, not cached.

mod livez;
mod metrics;
mod readyz;
mod status;

pub(in crate::http) use self::status::StatusResponse;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::http::App;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(status::get_status))
        .routes(routes!(livez::get_livez))
        .routes(routes!(readyz::get_readyz))
        .routes(routes!(metrics::get_metrics))
}
