//! HTTP/1.1 connections: made, kept alive, used again.
//!
//! Made by hand over hyper, for two things that a ready-made client's pool does not give: a connection that was long in the
//! making is kept although whoever wanted it has given up, and it is always known whether anything of a request was sent.

use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use redis::{ErrorKind, RedisError, RedisResult};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;
use tokio_util::task::TaskTracker;
use url::Url;

use super::failure::Failure;
use crate::tls;

/// A connection that was idle for longer is not used again: something on the way may have forgotten it without a word.
const MAX_IDLE: Duration = Duration::from_secs(60);

/// How long an idle connection may take to be ready: a turn of the task that drives it. One whose peer answered before it had read the
/// whole request, and reads no more, never is.
const READY: Duration = Duration::from_millis(50);

/// An HTTP connection that carries one request at a time.
pub(super) type Connection = SendRequest<Full<Bytes>>;

/// Connections to one place.
pub(super) struct Connections {
    host: String,
    port: u16,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    timeout: Duration,
    idle: Mutex<Vec<(Connection, Instant)>>,
    driving: TaskTracker,
}

impl Connections {
    /// Connections to the host of `url`, each made within `timeout`. TLS trusts the system's authorities, or those that
    /// `SSL_CERT_FILE` or `SSL_CERT_DIR` name.
    pub(super) fn new(url: &Url, timeout: Duration) -> RedisResult<Self> {
        let refused = |what| RedisError::from((ErrorKind::InvalidClientConfig, what));
        // IPv6 addresses are in brackets in a URL, and nowhere else.
        let host = url.host_str().ok_or_else(|| refused("the REST URL names no host"))?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = url.port_or_known_default().ok_or_else(|| refused("the REST URL names no port"))?;
        let tls = match url.scheme() {
            "https" => {
                let name = ServerName::try_from(host.clone()).map_err(|_| refused("the REST URL's host is no name"))?;
                Some((tls_connector()?, name))
            }
            _ => None,
        };
        Ok(Self { host, port, tls, timeout, idle: Mutex::default(), driving: TaskTracker::new() })
    }

    /// An idle connection that still stands.
    pub(super) async fn idle(&self) -> Option<Connection> {
        while let Some(mut connection) = self.pop_idle() {
            // It closed while it was idle if it is not ready now.
            if let Ok(Ok(())) = timeout(READY, connection.ready()).await {
                return Some(connection);
            }
        }
        None
    }

    /// Closes all idle connections.
    pub(super) fn discard_idle(&self) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// A new connection.
    pub(super) async fn connect(&self) -> Result<Connection, Failure> {
        let connect = async {
            match self.connect_once().await {
                // Nothing was sent: behind one name there may be somebody else who takes it.
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => self.connect_once().await,
                result => result,
            }
        };
        match timeout(self.timeout, connect).await {
            Ok(result) => result.map_err(|error| Failure::NoConnection(error.to_string())),
            Err(_) => Err(Failure::NoConnection(format!("not within {} ms", self.timeout.as_millis()))),
        }
    }

    /// Keeps a connection, whose last answer was read to its end, for the next request.
    pub(super) fn keep(&self, connection: Connection) {
        if !connection.is_closed() {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push((connection, Instant::now()));
        }
    }

    fn pop_idle(&self) -> Option<Connection> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|(connection, since)| !connection.is_closed() && since.elapsed() < MAX_IDLE);
        idle.pop().map(|(connection, _)| connection)
    }

    async fn connect_once(&self) -> io::Result<Connection> {
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await?;
        stream.set_nodelay(true)?;
        match &self.tls {
            Some((connector, name)) => self.handshake(connector.connect(name.clone(), stream).await?).await,
            None => self.handshake(stream).await,
        }
    }

    async fn handshake<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(&self, stream: S) -> io::Result<Connection> {
        let (connection, driver) = http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        self.driving.spawn(async move {
            // Whoever waits for an answer on it is told; nobody else cares.
            let _ = driver.await;
        });
        Ok(connection)
    }
}

fn tls_connector() -> RedisResult<TlsConnector> {
    let config = tls::client_config()
        .map_err(|error| RedisError::from((ErrorKind::InvalidClientConfig, "TLS towards the REST URL", error.to_string())))?;
    Ok(TlsConnector::from(config))
}
