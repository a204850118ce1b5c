//! HTTP: the only room that speaks status codes. A handler extracts, makes one call, and maps the answer.

mod client_ip;
mod extract;
mod gate;
mod host;
mod openapi;
mod problem;
mod respond;
mod routes;
mod stack;
mod state;

use axum::Router;
use tokio::net::TcpListener;

pub use self::openapi::document as openapi_document;
pub use self::state::{App, Parts};

/// The whole service.
pub fn service(app: &App) -> Router {
    stack::around(routes::router(app), app)
}

/// Serves until the server is asked to stop and every request has been answered.
///
/// # Errors
/// If the listener fails.
pub async fn serve(listener: TcpListener, app: App) -> std::io::Result<()> {
    let service = service(&app).into_make_service_with_connect_info::<std::net::SocketAddr>();
    let stopping = app.lifecycle.stopping();
    axum::serve(listener, service).with_graceful_shutdown(async move { stopping.cancelled().await }).await
}
