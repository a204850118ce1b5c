//! From connections to requests: how many, how patient, and how they end.

mod connections;
mod refusal;
mod tracked_body;

use std::convert::Infallible;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_io_timeout::TimeoutStream;
use tower::{BoxError, ServiceExt};

pub(super) use self::connections::Connection;
use self::connections::Slot;
pub use self::connections::{ConnectionLimits, Connections};
use self::tracked_body::TrackedBody;
use super::{App, service};
use crate::lifecycle::Lifecycle;
use crate::outbound::MAX_IDLE;

/// How long a client may take to send the head of its first request. Clients connect to send one.
const FIRST_HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// The same in a place that is kept for health checks.
const HEALTH_HEAD_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a client may take to send the head of a further request, and a connection may lie idle between two. Longer than clients and
/// load balancers keep one they do not use, most of them for 60 s: else they would send a request on one that is being closed.
const HEAD_TIMEOUT: Duration = Duration::from_secs(75);
const _: () = assert!(HEAD_TIMEOUT.as_secs() > MAX_IDLE.as_secs(), "other servers of ours are such clients");

/// How long a client may take nothing of what is sent to it: then it is gone, or so slow that it must begin again.
const WRITE_TIMEOUT: Duration = Duration::from_secs(60);

/// How long to wait after an accept that failed, for want of file descriptors most likely.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until the server is asked to stop and every request has been answered.
pub async fn serve(listener: TcpListener, app: App) {
    serve_routes(listener, service(&app), &app.connections, &app.lifecycle).await;
}

/// The same for any `routes`.
pub(super) async fn serve_routes(listener: TcpListener, routes: Router, connections: &Connections, lifecycle: &Lifecycle) {
    let (stopping, graceful) = (lifecycle.stopping(), GracefulShutdown::new());
    loop {
        let (stream, peer) = tokio::select! {
            accepted = accept(&listener, connections) => accepted,
            () = stopping.cancelled() => break,
        };
        match connections.admit(peer) {
            Ok(place) => {
                let serving = graceful.watch(connection(stream, answer(routes.clone(), Arc::clone(place.connection()))));
                lifecycle.tasks().spawn(serve_connection(place, serving));
            }
            Err(refusal) => refusal::send(stream, refusal),
        }
    }
    drop(listener);
    graceful.shutdown().await;
}

/// Serves a connection until it ends, is closed for others, or asks for nothing.
async fn serve_connection(place: Slot, serving: impl Future<Output = hyper::Result<()>>) {
    let connection = place.connection();
    let patience = if connection.is_kept_for_health() { HEALTH_HEAD_TIMEOUT } else { FIRST_HEAD_TIMEOUT };
    let silence = async {
        tokio::time::sleep(patience).await;
        if connection.was_used() {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        biased;
        () = connection.closed() => {}
        result = serving => {
            if let Err(error) = result {
                tracing::debug!(%error, "a connection failed");
            }
        }
        () = silence => metrics::counter!("agentapi_connections_closed_total", "reason" => "first_head").increment(1),
    }
}

async fn accept(listener: &TcpListener, connections: &Connections) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                // Events are small writes, which must not wait for the acknowledgement of the one before.
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(%error, "a connection cannot be set to send at once");
                }
                return (stream, peer);
            }
            // The client has gone already.
            Err(error) if error.kind() == ErrorKind::ConnectionAborted => {}
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                connections.close_some_idle();
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Answers the requests of one connection, which know it as an extension.
fn answer(
    routes: Router,
    connection: Arc<Connection>,
) -> impl Service<Request<Incoming>, Response = Response<TrackedBody>, Error = Infallible, Future: Send> + Send {
    service_fn(move |mut request: Request<Incoming>| {
        let (busy, connection, routes) = (connection.begin_request(), Arc::clone(&connection), routes.clone());
        let is_kept_for_health = connection.is_kept_for_health();
        request.extensions_mut().insert(connection);
        async move {
            let response = if is_kept_for_health {
                refusal::unless_health(request.map(Body::new), routes).await
            } else {
                routes.oneshot(request.map(Body::new)).await.unwrap_or_else(|never| match never {})
            };
            Ok(response.map(|body| TrackedBody::new(body, busy)))
        }
    })
}

fn connection<I, S, B>(io: I, service: S) -> http1::Connection<TokioIo<Pin<Box<TimeoutStream<I>>>>, S>
where
    I: AsyncRead + AsyncWrite + 'static,
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible, Future: Send + 'static>,
    B: hyper::body::Body<Data: Send, Error: Into<BoxError>> + 'static,
{
    let mut io = TimeoutStream::new(io);
    io.set_write_timeout(Some(WRITE_TIMEOUT));
    let io = TokioIo::new(Box::pin(io));
    http1::Builder::new().timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).serve_connection(io, service)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    const GET: &str = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";

    #[tokio::test(start_paused = true)]
    async fn client_that_sends_no_first_head_is_let_go_soon() {
        for (sent, patience) in
            [("", FIRST_HEAD_TIMEOUT), ("GET / HTTP/1.1\r\nHost: local", FIRST_HEAD_TIMEOUT), (GET, HEAD_TIMEOUT)]
        {
            let connections = Connections::new(ConnectionLimits::new(None, None, 100), Vec::new());
            let place = connections.admit(SocketAddr::from(([192, 0, 2, 1], 1))).expect("there is room");
            let (mut client, server) = tokio::io::duplex(1024);
            let serving = connection(server, answer(Router::new(), Arc::clone(place.connection())));
            let begun = tokio::time::Instant::now();
            let talking = async {
                client.write_all(sent.as_bytes()).await.expect("it listens");
                client.read_to_end(&mut Vec::new()).await.expect("it hangs up");
            };
            tokio::join!(serve_connection(place, serving), talking);
            assert_eq!(begun.elapsed().as_secs(), patience.as_secs(), "{sent}");
            assert_eq!(connections.count(), (0, 0));
        }
    }

    #[tokio::test]
    async fn connection_is_busy_until_its_answer_has_been_sent() {
        let connections = Connections::new(ConnectionLimits::new(None, None, 100), Vec::new());
        let place = connections.admit(SocketAddr::from(([192, 0, 2, 1], 1))).expect("there is room");
        let (pieces, mut received) = tokio::sync::mpsc::channel::<Result<&str, Infallible>>(1);
        let body = Body::from_stream(futures_util::stream::poll_fn(move |context| received.poll_recv(context)));
        let body = Arc::new(std::sync::Mutex::new(Some(body)));
        let route = axum::routing::get(async move || body.lock().expect("not poisoned").take().expect("asked for once"));
        let (mut client, server) = tokio::io::duplex(1024);
        let serving = connection(server, answer(Router::new().route("/", route), Arc::clone(place.connection())));
        let serving = tokio_util::task::TaskTracker::new().spawn(serve_connection(place, serving));
        client.write_all(GET.as_bytes()).await.expect("it listens");
        pieces.send(Ok("piece")).await.expect("it is asked for");
        let mut read = Vec::new();
        while !String::from_utf8_lossy(&read).contains("piece") {
            client.read_buf(&mut read).await.expect("an answer");
        }
        assert_eq!(connections.count(), (1, 0));
        drop(pieces);
        while !read.ends_with(b"0\r\n\r\n") {
            client.read_buf(&mut read).await.expect("its end");
        }
        assert_eq!(connections.count(), (0, 1));
        drop(client);
        serving.await.expect("it ends");
        assert_eq!(connections.count(), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_sends_half_a_head_or_nothing_is_let_go() {
        for sent in ["", "GET / HTTP/1.1\r\nHost: local", "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"] {
            let (mut client, server) = tokio::io::duplex(1024);
            let serving = connection(server, service_fn(|_| async { Ok(Response::new(Body::empty())) }));
            let talking = async {
                client.write_all(sent.as_bytes()).await.expect("it listens");
                let mut answer = String::new();
                client.read_to_string(&mut answer).await.expect("it hangs up");
                answer
            };
            let (_, answer) = tokio::join!(serving, talking);
            assert_eq!(answer.starts_with("HTTP/1.1 200"), sent.ends_with("\r\n\r\n"), "{sent}: {answer}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_is_let_go() {
        let (mut client, server) = tokio::io::duplex(1024);
        let endless = || futures_util::stream::repeat_with(|| Ok::<_, Infallible>(vec![7; 1024]));
        let serving = connection(server, service_fn(move |_| async move { Ok(Response::new(Body::from_stream(endless()))) }));
        client.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await.expect("it listens");
        let begun = tokio::time::Instant::now();
        assert!(serving.await.is_err());
        assert!((WRITE_TIMEOUT..WRITE_TIMEOUT * 2).contains(&begun.elapsed()), "{:?}", begun.elapsed());
    }
}
