//! Circuit breakers, for operators.

mod list;
mod reset;

use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::http::App;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list::list_circuits)).routes(routes!(reset::reset_circuit))
}
