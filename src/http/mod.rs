//! HTTP: the only room that speaks status codes. A handler extracts, makes one call, and maps the answer.

mod api_key_gate;
mod api_page;
mod client_ip;
mod cost;
mod event_text;
mod extract;
mod forwarded;
mod forwarded_events;
mod fresh_token;
mod gate;
mod host;
mod limit;
mod measure;
mod openapi;
mod outbound_problem;
mod owner;
mod problem;
mod recent_answer;
mod respond;
mod routes;
mod serve;
mod shown;
pub mod single;
mod stack;
mod state;

use axum::Router;

pub use self::openapi::document as openapi_document;
pub use self::serve::{ConnectionLimits, Connections, serve};
pub use self::state::{App, Parts};

/// The whole service.
fn service(app: &App) -> Router {
    stack::around(routes::router(app), app)
}
