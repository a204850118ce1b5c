//! Connections: the name's permitted addresses, TCP, and TLS where the scheme asks for it. No proxies.

use std::future::Future;
use std::io::{self, ErrorKind, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;
use hyper::Uri;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::OnceCell;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tower::Service;

use super::{Resolve, ResolveError, keep_alive};
use crate::tls;

/// How long making a connection may take, all addresses and TLS included. Each address of a name has an equal share of it, so that one
/// that swallows what is sent to it leaves time for the next.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(4);

/// Addresses of a name that are tried.
const MAX_ADDRESSES: usize = 4;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectError {
    /// It may not be made.
    #[error("{0}")]
    Refused(String),
    /// The name could not be looked up.
    #[error("{0}")]
    Unknown(String),
    /// It could not be made.
    #[error("{0}")]
    Failed(String),
}

impl From<ResolveError> for ConnectError {
    fn from(error: ResolveError) -> Self {
        match error {
            ResolveError::Refused(why) => Self::Refused(why),
            ResolveError::Lookup(error) => Self::Unknown(error.to_string()),
        }
    }
}

/// Makes connections.
#[derive(Clone)]
pub(super) struct Connector {
    resolver: Arc<dyn Resolve>,
    /// Read when it is first needed: a deployment without https needs no authorities.
    tls: Arc<OnceCell<TlsConnector>>,
}

impl Connector {
    pub(super) fn new(resolver: Arc<dyn Resolve>) -> Self {
        Self { resolver, tls: Arc::default() }
    }

    async fn connect(&self, uri: &Uri) -> Result<Stream, ConnectError> {
        let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
        let encrypted = uri.scheme_str() == Some("https");
        let port = uri.port_u16().unwrap_or(if encrypted { 443 } else { 80 });
        let tcp = self.tcp(host, port).await?;
        if !encrypted {
            return Ok(Stream::Plain(tcp));
        }
        let failed = |error: &dyn std::error::Error| ConnectError::Failed(error.to_string());
        let name = ServerName::try_from(host.to_owned()).map_err(|error| failed(&error))?;
        let stream = self.tls().await?.connect(name, tcp).await.map_err(|error| failed(&error))?;
        Ok(Stream::Encrypted(Box::new(stream)))
    }

    async fn tcp(&self, host: &str, port: u16) -> Result<TcpStream, ConnectError> {
        let mut last = io::Error::from(ErrorKind::NotFound);
        let mut addresses = self.resolver.resolve(host, port).await?;
        if addresses.is_empty() {
            return Err(ConnectError::Unknown("the name has no address".to_owned()));
        }
        addresses.truncate(MAX_ADDRESSES);
        let share = CONNECT_TIMEOUT / u32::try_from(addresses.len().max(1)).unwrap_or(1);
        for address in addresses {
            match timeout(share, connected(address)).await.unwrap_or_else(|_| Err(ErrorKind::TimedOut.into())) {
                Ok(stream) => return Ok(stream),
                Err(error) => last = error,
            }
        }
        Err(ConnectError::Failed(last.to_string()))
    }

    async fn tls(&self) -> Result<TlsConnector, ConnectError> {
        let read = async || {
            let config = tokio::task::spawn_blocking(tls::client_config).await;
            let config = config.map_err(|error| ConnectError::Failed(error.to_string()))?;
            config.map(TlsConnector::from).map_err(|error| ConnectError::Failed(error.to_string()))
        };
        self.tls.get_or_try_init(read).await.cloned()
    }
}

impl Service<Uri> for Connector {
    type Response = TokioIo<Stream>;
    type Error = ConnectError;
    type Future = BoxFuture<'static, Result<TokioIo<Stream>, ConnectError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connector = self.clone();
        Box::pin(async move {
            let late = |_| ConnectError::Failed(format!("not within {} ms", CONNECT_TIMEOUT.as_millis()));
            timeout(CONNECT_TIMEOUT, connector.connect(&uri)).await.map_err(late)?.map(TokioIo::new)
        })
    }
}

async fn connected(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    keep_alive::watch(&stream)?;
    Ok(stream)
}

/// A connection.
pub(super) enum Stream {
    Plain(TcpStream),
    Encrypted(Box<TlsStream<TcpStream>>),
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

macro_rules! either {
    ($self:ident, $stream:ident => $what:expr) => {
        match $self.get_mut() {
            Stream::Plain($stream) => {
                let $stream = Pin::new($stream);
                $what
            }
            Stream::Encrypted($stream) => {
                let $stream = Pin::new($stream.as_mut());
                $what
            }
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        either!(self, stream => stream.poll_read(context, buffer))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        either!(self, stream => stream.poll_write(context, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, stream => stream.poll_flush(context))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, stream => stream.poll_shutdown(context))
    }

    fn poll_write_vectored(self: Pin<&mut Self>, context: &mut Context<'_>, parts: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        either!(self, stream => stream.poll_write_vectored(context, parts))
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Encrypted(stream) => stream.is_write_vectored(),
        }
    }
}

/// Runs a client's connections: a task each, which ends with its connection, and all with the client.
#[derive(Clone, Default)]
pub(super) struct Tasks(tokio_util::task::TaskTracker);

impl<F: Future<Output: Send> + Send + 'static> hyper::rt::Executor<F> for Tasks {
    fn execute(&self, task: F) {
        self.0.spawn(async move {
            task.await;
        });
    }
}
