//! Where the chat page of coder/agentapi would be. This program has none, and says so.

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::any;

use super::SingleAgent;

const PAGE: &str = include_str!("chat.html");

/// `/` and the pages that it leads to.
pub(super) fn routes() -> Router<SingleAgent> {
    let page = || any(async || Html(PAGE));
    Router::new()
        .route("/", any(to_chat))
        .route("/chat", page())
        .route("/chat/", page())
        .route("/chat/embed", page())
        .route("/chat/embed/", page())
}

/// Leads to the chat, wherever a reverse proxy shows it.
async fn to_chat(State(app): State<SingleAgent>) -> Response {
    let base = app.chat_base_path.strip_suffix('/').unwrap_or(&app.chat_base_path);
    let to = format!("{base}/embed");
    let link =
        format!("<a href=\"{}\">Temporary Redirect</a>.\n", to.replace('&', "&amp;").replace('"', "&quot;").replace('<', "&lt;"));
    (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, to)], Html(link)).into_response()
}
