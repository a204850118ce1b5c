//! The layers around every route, written once, in the order in which a request meets them.

use std::any::Any;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use tower::ServiceBuilder;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::cors::{AllowOrigin, CorsLayer};
use tower_http::request_id::{MakeRequestId, PropagateRequestIdLayer, RequestId, SetRequestIdLayer};
use tower_http::set_header::SetResponseHeaderLayer;
use tower_http::timeout::TimeoutLayer;
use uuid::Uuid;
use uuid::fmt::Hyphenated;

use super::App;
use super::client_ip::find_client_ip;
use super::forwarded::without_request_id;
use super::problem::Problem;
use super::respond::respond;

/// Longest body that is read, but for uploads.
const BODY_LIMIT_BYTES: usize = 1024 * 1024;

/// Longest that a handler may take to begin its answer: more than an agent that does not react is waited for.
const DEADLINE: Duration = Duration::from_secs(30);

/// Puts the layers around `routes`. What only looks at the request and goes on is a function of the request (`map_request`): unlike
/// a middleware function, it costs a request neither an allocation nor a copy of the layers within.
pub(super) fn around(routes: Router, app: &App) -> Router {
    let locating = app.clone();
    routes.layer(
        ServiceBuilder::new()
            // 1. A request id, which goes into the log. Where does the request come from?
            .map_request(move |request: Request| find_client_ip(&locating, without_request_id(request)))
            .layer(SetRequestIdLayer::x_request_id(NewRequestId))
            .layer(PropagateRequestIdLayer::x_request_id())
            .layer(SetResponseHeaderLayer::if_not_present(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")))
            // 2. A span, a log line, metrics, and the body of every error answer. Was it forwarded by another server? Is it for this host?
            //    Preflights are limited here.
            .layer(from_fn_with_state(app.clone(), respond))
            // 3. A panic becomes an error answer.
            .layer(CatchPanicLayer::custom(panicked))
            // 4. May this page call (browsers only)?
            .layer(cors(&app.settings.allowed_origins))
            // 5. How long, and how large?
            .layer(TimeoutLayer::with_status_code(StatusCode::GATEWAY_TIMEOUT, DEADLINE))
            .layer(DefaultBodyLimit::max(BODY_LIMIT_BYTES)),
        // 6. The gate: rate limit and session (`gate.rs`), around the routes that need it (`routes/mod.rs`).
    )
}

#[derive(Clone)]
struct NewRequestId;

impl MakeRequestId for NewRequestId {
    fn make_request_id<B>(&mut self, _: &axum::http::Request<B>) -> Option<RequestId> {
        let mut text = [0; Hyphenated::LENGTH];
        HeaderValue::from_str(Uuid::now_v7().hyphenated().encode_lower(&mut text)).ok().map(RequestId::new)
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the signature that CatchPanicLayer asks for")]
fn panicked(panic: Box<dyn Any + Send>) -> Response {
    let message = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    Problem::internal(format!("panic: {}", message.unwrap_or("of an unknown kind"))).into_response()
}

fn cors(origins: &[String]) -> CorsLayer {
    let origin = if origins.iter().any(|origin| origin == "*") {
        AllowOrigin::any()
    } else {
        AllowOrigin::list(origins.iter().filter_map(|origin| HeaderValue::from_str(origin.trim_end_matches('/')).ok()))
    };
    let exposed = [
        "x-request-id",
        "x-session-token",
        "ratelimit",
        "ratelimit-policy",
        "x-ratelimit-limit",
        "x-ratelimit-remaining",
        "x-ratelimit-reset",
        "retry-after",
        "location",
    ];
    CorsLayer::new()
        .allow_origin(origin)
        .allow_methods([Method::GET, Method::POST, Method::DELETE])
        .allow_headers([
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            header::ACCEPT,
            HeaderName::from_static("last-event-id"),
            HeaderName::from_static("idempotency-key"),
        ])
        .expose_headers(exposed.map(HeaderName::from_static))
        // As long as browsers keep it: each preflight counts towards the limit of its address.
        .max_age(Duration::from_secs(7200))
}
