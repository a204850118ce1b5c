//! One agent, at the root of a server of its own, as coder/agentapi serves it: no tenants, no log-in, no stores.
//!
//! Routes, bodies and texts are those of that program, because clients and scripts depend on them; what differs on purpose is in
//! `docs/SINGLE_AGENT.md`. The layers, outermost first: host, CORS, a panic becomes an answer, method.

mod allowed_hosts;
mod allowed_origins;
mod chat;
mod cors;
mod document;
mod events;
mod list;
mod message;
mod message_body;
mod messages;
mod reply;
mod screen;
mod status;
mod stream;
mod time;
mod upload;

use std::ops::Deref;
use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::handler::Handler;
use axum::http::{Method, StatusCode, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, any};
use chrono::{DateTime, Utc};
use tokio::net::TcpListener;
use tower::ServiceBuilder;
use tower_http::catch_panic::CatchPanicLayer;

pub use self::allowed_hosts::AllowedHosts;
pub use self::allowed_origins::AllowedOrigins;
pub use self::document::document;
use super::Connections;
use crate::agent::{LiveAgent, Uploads};
use crate::domain::Fence;
use crate::lifecycle::Lifecycle;

/// What the server is made of.
pub struct Parts {
    /// The agent.
    pub agent: LiveAgent,
    /// Which life of it this is: event ids of others are not resumed after.
    pub life: Fence,
    /// Where files for it go.
    pub uploads: Uploads,
    /// The hosts that a request may name.
    pub hosts: AllowedHosts,
    /// The origins whose pages may call from a browser.
    pub origins: AllowedOrigins,
    /// Where the chat is, as a reverse proxy shows it: `/chat`.
    pub chat_base_path: String,
    /// What went wrong at the start without stopping it.
    pub warnings: Vec<Warning>,
    /// The connections of clients, on all its addresses.
    pub connections: Connections,
    /// When to stop.
    pub lifecycle: Lifecycle,
}

/// Something that everybody who watches is told.
#[derive(Debug, Clone)]
pub struct Warning {
    /// What went wrong.
    pub message: String,
    /// When.
    pub time: DateTime<Utc>,
}

/// The running server. Cheap to clone.
#[derive(Clone)]
pub struct SingleAgent(Arc<Parts>);

impl SingleAgent {
    /// Puts the parts together.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }
}

impl Deref for SingleAgent {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

/// Serves until the server is asked to stop and every request has been answered.
pub async fn serve(listener: TcpListener, app: SingleAgent) {
    super::serve::serve_routes(listener, service(&app), &app.connections, &app.lifecycle).await;
}

fn service(app: &SingleAgent) -> Router {
    let upload = only(Method::POST, upload::post_upload).layer(DefaultBodyLimit::max(upload::MAX_BODY_BYTES));
    let routes = Router::new()
        .route("/status", only(Method::GET, status::get_status))
        .route("/messages", only(Method::GET, messages::get_messages))
        .route("/message", only(Method::POST, message::post_message))
        .route("/upload", upload)
        .route("/events", only(Method::GET, events::get_events))
        .route("/internal/screen", only(Method::GET, screen::get_screen))
        .merge(document::routes())
        .merge(chat::routes())
        .fallback(not_found);
    routes
        .layer(
            ServiceBuilder::new()
                .layer(from_fn_with_state(app.clone(), allowed_hosts::check_host))
                .layer(from_fn_with_state(app.clone(), cors::answer))
                .layer(CatchPanicLayer::new()),
        )
        .with_state(app.clone())
}

/// A route for one method. `HEAD` is not answered by `GET`'s handler: it is refused, as all others are.
fn only<H, T>(method: Method, handler: H) -> MethodRouter<SingleAgent>
where
    H: Handler<T, SingleAgent>,
    T: 'static,
{
    let check = move |request: Request, next: Next| {
        let method = method.clone();
        async move {
            if request.method() == method {
                return next.run(request).await;
            }
            (StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, method.as_str())]).into_response()
        }
    };
    any(handler).layer(from_fn(check))
}

/// A refusal that is no JSON.
fn plain(status: StatusCode, text: String) -> Response {
    let headers = [(header::CONTENT_TYPE, "text/plain; charset=utf-8"), (header::X_CONTENT_TYPE_OPTIONS, "nosniff")];
    (status, headers, text).into_response()
}

async fn not_found() -> Response {
    plain(StatusCode::NOT_FOUND, "404 page not found\n".to_owned())
}
