//! Answers of a server that is full.

use std::io::Write;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use tokio::net::TcpStream;
use tower::ServiceExt;
use uuid::Uuid;

use super::connections::ConnectionRefusal;
use crate::http::problem::{Code, Problem, RETRY_AFTER, whole_seconds};

/// Routes that are answered in the places that are kept for health checks.
const HEALTH: [&str; 4] = ["/status", "/livez", "/readyz", "/metrics"];

/// Tells a client why it may not connect, as far as that fits into a new connection's buffer, and closes the connection.
pub(super) fn send(stream: TcpStream, refusal: ConnectionRefusal) {
    count(refusal);
    let body = body(refusal);
    let head = format!(
        "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/problem+json\r\nContent-Length: {}\r\nRetry-After: {}\r\n\
         Cache-Control: no-store\r\nConnection: close\r\n\r\n",
        body.len(),
        whole_seconds(RETRY_AFTER),
    );
    // It does not block; a client that does not get it sees a closed connection.
    let sent = stream.into_std().and_then(|mut stream| stream.write_all(format!("{head}{body}").as_bytes()));
    if let Err(error) = sent {
        tracing::debug!(%error, "a client was not told that there is no room for it");
    }
}

/// Answers a request for the server's health, and no other, on a connection that is closed then.
pub(super) async fn unless_health(request: Request, routes: Router) -> Response {
    let mut response = if HEALTH.contains(&request.uri().path()) {
        routes.oneshot(request).await.unwrap_or_else(|never| match never {})
    } else {
        count(ConnectionRefusal::Full);
        let mut response = (StatusCode::SERVICE_UNAVAILABLE, Body::from(body(ConnectionRefusal::Full))).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(header::RETRY_AFTER, whole_seconds(RETRY_AFTER).into());
        response
    };
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

fn body(refusal: ConnectionRefusal) -> String {
    let problem = Problem::new(Code::ServiceUnavailable).with_detail(refusal.to_string());
    // Plain values always serialise.
    serde_json::to_string(&problem.body(&Uuid::now_v7().to_string())).unwrap_or_default()
}

fn count(refusal: ConnectionRefusal) {
    metrics::counter!("agentapi_connections_refused_total", "reason" => refusal.as_str()).increment(1);
}
