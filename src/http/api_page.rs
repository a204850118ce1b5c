//! The page that shows the API document at `/docs`, and what browsers let it do.

use axum::Router;
use axum::http::{HeaderValue, header};
use tower::ServiceBuilder;
use tower_http::set_header::SetResponseHeaderLayer;
use utoipa_swagger_ui::{Config, SwaggerUi};

/// What the page may load and do: run its own files and call this server. Its style sheet has images written in it; the hash is that of
/// the one style that a script adds, which colours the logo.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self' 'sha256-RL3ie0nH+Lzz2YNqQN83mnU0J1ot4QL7b99vMdIX99w='; \
     img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

/// How long browsers keep the page's files, which change with the version only.
const LIFE: HeaderValue = HeaderValue::from_static("public, max-age=3600");

/// `/docs` and the files that it loads; the document is at `/openapi.json`.
pub(super) fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::from(SwaggerUi::new("/docs").config(Config::from("/openapi.json"))).layer(
        ServiceBuilder::new()
            .layer(SetResponseHeaderLayer::overriding(header::CONTENT_SECURITY_POLICY, POLICY))
            .layer(SetResponseHeaderLayer::overriding(header::CACHE_CONTROL, LIFE)),
    )
}
