//! Listening, and HTTP on what comes.

use std::io;
use std::sync::Arc;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Body;

/// Serves until `running` is cancelled, which ends open connections too.
pub(super) async fn listen<H, F>(port: u16, tls: Option<TlsAcceptor>, tasks: &TaskTracker, running: &CancellationToken, handle: H)
where
    H: Fn(Request<Incoming>) -> F + Send + Sync + 'static,
    F: Future<Output = io::Result<Response<Body>>> + Send + 'static,
{
    let listener = TcpListener::bind(("127.0.0.1", port)).await.expect("the port is free");
    let (connections, ended, handle) = (tasks.clone(), running.clone(), Arc::new(handle));
    tasks.spawn(running.clone().run_until_cancelled_owned(async move {
        loop {
            let Ok((stream, _)) = listener.accept().await else { continue };
            let (tls, handle) = (tls.clone(), handle.clone());
            connections.spawn(ended.clone().run_until_cancelled_owned(serve(stream, tls, handle)));
        }
    }));
}

async fn serve<H, F>(stream: TcpStream, tls: Option<TlsAcceptor>, handle: Arc<H>)
where
    H: Fn(Request<Incoming>) -> F + Send + Sync + 'static,
    F: Future<Output = io::Result<Response<Body>>> + Send + 'static,
{
    match tls {
        Some(tls) => {
            // A client that does not trust us hangs up.
            if let Ok(stream) = tls.accept(stream).await {
                speak(stream, handle).await;
            }
        }
        None => speak(stream, handle).await,
    }
}

async fn speak<S, H, F>(stream: S, handle: Arc<H>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    H: Fn(Request<Incoming>) -> F + Send + Sync + 'static,
    F: Future<Output = io::Result<Response<Body>>> + Send + 'static,
{
    // It ends with an error where a fault is wanted.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(move |request| handle(request))).await;
}
