//! From connections to requests: how many, how patient, and how they end.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request};
use axum::response::Response;
use hyper::body::Incoming;
use hyper::server::conn::http1::{Builder, Connection};
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_io_timeout::TimeoutStream;
use tower::ServiceExt;

use super::{App, service};
use crate::lifecycle::Lifecycle;
use crate::outbound::MAX_IDLE;

/// Connections served at once; more wait to be accepted.
const MAX_CONNECTIONS: usize = 10_000;

/// How long a client may take to send the head of a request, and a connection may lie idle between two. Longer than clients and load
/// balancers keep one they do not use, most of them for 60 s: else they would send a request on one that is being closed.
const HEAD_TIMEOUT: Duration = Duration::from_secs(75);
const _: () = assert!(HEAD_TIMEOUT.as_secs() > MAX_IDLE.as_secs(), "other servers of ours are such clients");

/// How long a client may take nothing of what is sent to it: then it is gone, or so slow that it must begin again.
const WRITE_TIMEOUT: Duration = Duration::from_secs(60);

/// How long to wait after an accept that failed, for want of file descriptors most likely.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until the server is asked to stop and every request has been answered.
pub async fn serve(listener: TcpListener, app: App) {
    serve_routes(listener, service(&app), &app.lifecycle).await;
}

/// The same for any `routes`.
pub(super) async fn serve_routes(listener: TcpListener, routes: Router, lifecycle: &Lifecycle) {
    let (stopping, connections, graceful) =
        (lifecycle.stopping(), Arc::new(Semaphore::new(MAX_CONNECTIONS)), GracefulShutdown::new());
    loop {
        let next = async { (Arc::clone(&connections).acquire_owned().await, accept(&listener).await) };
        let (permit, (stream, peer)) = tokio::select! {
            next = next => next,
            () = stopping.cancelled() => break,
        };
        let connection = graceful.watch(connection(stream, answer(routes.clone(), peer)));
        lifecycle.tasks().spawn(async move {
            let _permit = permit;
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection failed");
            }
        });
    }
    drop(listener);
    graceful.shutdown().await;
}

async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                // Events are small writes, which must not wait for the acknowledgement of the one before.
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(%error, "a connection cannot be set to send at once");
                }
                return (stream, peer);
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Answers the requests of one connection, which know where they come from.
fn answer(
    routes: Router,
    peer: SocketAddr,
) -> impl Service<Request<Incoming>, Response = Response, Error = Infallible, Future: Send> + Send {
    service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        routes.clone().oneshot(request.map(Body::new))
    })
}

fn connection<I, S>(io: I, service: S) -> Connection<TokioIo<Pin<Box<TimeoutStream<I>>>>, S>
where
    I: AsyncRead + AsyncWrite + 'static,
    S: Service<Request<Incoming>, Response = Response, Error = Infallible, Future: Send + 'static>,
{
    let mut io = TimeoutStream::new(io);
    io.set_write_timeout(Some(WRITE_TIMEOUT));
    let io = TokioIo::new(Box::pin(io));
    Builder::new().timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).serve_connection(io, service)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

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
