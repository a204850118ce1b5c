//! The server to compare with: axum and one handler, and nothing around it.

use std::io::Write;

use axum::routing::get;
use axum::{Json, Router};
use serde_json::Value;

use super::Failure;
use super::child::{Child, end_with_parent};

/// Starts a server that answers with `body`.
pub(crate) fn start(body: &str) -> Result<Child, Failure> {
    Child::start(&["--bare", body])
}

/// Serves `body`, serialized anew for each request.
pub(crate) fn serve(body: &str) -> Result<(), Failure> {
    let body: Value = serde_json::from_str(body)?;
    end_with_parent();
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await?;
        writeln!(std::io::stdout(), "{}", listener.local_addr()?)?;
        let app = Router::new().route("/", get(move || std::future::ready(Json(body.clone()))));
        Ok(axum::serve(listener, app).await?)
    })
}
