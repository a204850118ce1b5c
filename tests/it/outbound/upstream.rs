//! A service to call, over real TCP, that goes wrong on purpose.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::support::free_port;

/// What it does with requests, until it is changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Answers with this status, further header lines, and `ok`.
    Answer(u16, &'static str),
    /// Answers after so long.
    Slow(Duration),
    /// Reads and never answers.
    Hang,
    /// Resets the connection once it has read the request.
    Reset,
    /// Answers with what is no HTTP.
    Garbage,
    /// Sends a chunk of so many bytes again and again, after such a pause each, so many times.
    Stream(usize, Duration, u32),
    /// Answers with the body that it was sent.
    Echo,
    /// Answers with the head that it was sent, in lower case.
    EchoHead,
}

/// The service. It is gone when dropped.
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    state: Arc<State>,
    running: CancellationToken,
    tasks: TaskTracker,
}

struct State {
    mode: Mutex<Mode>,
    requests: AtomicU32,
    sent: AtomicU64,
}

impl Upstream {
    pub(crate) const WELL: Mode = Mode::Answer(200, "");

    pub(crate) async fn start() -> Self {
        let state = State { mode: Mutex::new(Self::WELL), requests: AtomicU32::new(0), sent: AtomicU64::new(0) };
        let mut upstream = Self {
            address: SocketAddr::from(([127, 0, 0, 1], free_port())),
            state: Arc::new(state),
            running: CancellationToken::new(),
            tasks: TaskTracker::new(),
        };
        upstream.listen().await;
        upstream
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn becomes(&self, mode: Mode) {
        *self.state.mode.lock().expect("no test panics with it") = mode;
    }

    /// Ends all connections, and refuses others.
    pub(crate) async fn stop(&self) {
        self.running.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Is there again, at the same place.
    pub(crate) async fn restart(&mut self) {
        self.tasks.reopen();
        self.running = CancellationToken::new();
        self.listen().await;
    }

    /// Requests since it was made.
    pub(crate) fn requests(&self) -> u32 {
        self.state.requests.load(Ordering::Relaxed)
    }

    /// Bytes of streams that were written.
    pub(crate) fn sent(&self) -> u64 {
        self.state.sent.load(Ordering::Relaxed)
    }

    async fn listen(&mut self) {
        let listener = TcpListener::bind(self.address).await.expect("the port is free");
        let (state, tasks, running) = (self.state.clone(), self.tasks.clone(), self.running.clone());
        self.tasks.spawn(self.running.clone().run_until_cancelled_owned(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let state = state.clone();
                tasks.spawn(running.clone().run_until_cancelled_owned(async move {
                    // It ends with an error where a fault is wanted.
                    let _ = state.serve(stream).await;
                }));
            }
        }));
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.running.cancel();
    }
}

impl State {
    async fn serve(&self, mut stream: TcpStream) -> std::io::Result<()> {
        loop {
            let Some((head, body)) = read_request(&mut stream).await? else { return Ok(()) };
            self.requests.fetch_add(1, Ordering::Relaxed);
            let mode = self.mode.lock().expect("no test panics with it").clone();
            match mode {
                Mode::Answer(status, headers) => answer(&mut stream, status, headers, b"ok").await?,
                Mode::Slow(pause) => {
                    tokio::time::sleep(pause).await;
                    answer(&mut stream, 200, "", b"ok").await?;
                }
                Mode::Hang => std::future::pending().await,
                Mode::Reset => return stream.set_zero_linger(),
                Mode::Garbage => stream.write_all(b"\x16\x03\x01 what is this\r\n\r\n").await?,
                Mode::Stream(size, pause, times) => {
                    stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await?;
                    for _ in 0..times {
                        tokio::time::sleep(pause).await;
                        let chunk = [format!("{size:x}\r\n").as_bytes(), &vec![b'x'; size], b"\r\n"].concat();
                        stream.write_all(&chunk).await?;
                        self.sent.fetch_add(size as u64, Ordering::Relaxed);
                    }
                    stream.write_all(b"0\r\n\r\n").await?;
                }
                Mode::Echo => answer(&mut stream, 200, "", &body).await?,
                Mode::EchoHead => {
                    let about_this_connection =
                        "connection: keep-alive, x-this-connection\r\nx-this-connection: 1\r\nx-kept: 1\r\n";
                    answer(&mut stream, 200, about_this_connection, head.as_bytes()).await?;
                }
            }
        }
    }
}

async fn answer(stream: &mut TcpStream, status: u16, headers: &str, body: &[u8]) -> std::io::Result<()> {
    let head = format!("HTTP/1.1 {status} Thus\r\ncontent-length: {}\r\n{headers}\r\n", body.len());
    stream.write_all(&[head.as_bytes(), body].concat()).await
}

/// Reads a request's head and its body, of whichever kind. Nothing if the connection ended before.
async fn read_request(stream: &mut TcpStream) -> std::io::Result<Option<(String, Vec<u8>)>> {
    let mut bytes = Vec::new();
    let head = loop {
        if let Some(end) = find(&bytes, b"\r\n\r\n") {
            break String::from_utf8_lossy(&bytes.drain(..end + 4).collect::<Vec<u8>>()).to_lowercase();
        }
        if stream.read_buf(&mut bytes).await? == 0 {
            return Ok(None);
        }
    };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
    let chunked = head.contains("transfer-encoding: chunked");
    while bytes.len() < length.unwrap_or(0) || (chunked && !bytes.ends_with(b"0\r\n\r\n")) {
        if stream.read_buf(&mut bytes).await? == 0 {
            return Ok(None);
        }
    }
    Ok(Some((head, bytes)))
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}
