//! The API document, generated from the routes, and a page for it.

use std::sync::Arc;

use axum::Router;
use axum::routing::get;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{InfoBuilder, OpenApi, OpenApiBuilder};
use utoipa_axum::router::OpenApiRouter;

use super::routes::documented;
use super::{App, api_page};

/// Name of the security scheme in the document.
pub(super) const BEARER: &str = "bearer";

/// The OpenAPI document (3.1).
#[must_use]
pub fn document() -> OpenApi {
    documented().into_iter().fold(OpenApiRouter::with_openapi(head()), |all, (_, routes)| all.merge(routes)).into_openapi()
}

/// The document without routes.
pub(super) fn head() -> OpenApi {
    let info = InfoBuilder::new()
        .title("agentapi")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some("One HTTP API for a whole organisation's coding agents."))
        .build();
    let mut document = OpenApiBuilder::new().info(info).build();
    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some("The token of `POST /v1/auth/login`, or an API key (`POST /v1/api-keys`)."))
        .build();
    document.components.get_or_insert_default().add_security_scheme(BEARER, SecurityScheme::Http(bearer));
    document
}

/// `/openapi.json` and `/docs`.
pub(super) fn pages(document: OpenApi) -> Router<App> {
    let document = Arc::new(document);
    let json = get(move || {
        let document = Arc::clone(&document);
        async move { axum::Json(document.as_ref().clone()) }
    });
    Router::new().route("/openapi.json", json).merge(api_page::routes())
}
