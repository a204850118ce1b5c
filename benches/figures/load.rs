//! Load: keep-alive connections, each with one request in flight, on one thread.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{interval, sleep_until, timeout};

use super::Failure;
use super::process::cpu;

/// Before what counts: connections are made and caches are filled.
const WARM_UP: Duration = Duration::from_millis(300);
/// Longest that answers are waited for once nothing more is asked.
const PATIENCE: Duration = Duration::from_secs(10);
/// Most requests of one connection in one burst.
const MOST: usize = 1_000_000;
/// Longest answer.
const ROOM: usize = 16 * 1024;
/// Between two requests of those who ask steadily, but for answers that take longer.
const PAUSE: Duration = Duration::from_millis(5);

/// What is asked of whom.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    /// The process that answers.
    pub(crate) pid: u32,
    request: Arc<[u8]>,
}

/// What came of it; bursts can be added up.
#[derive(Debug, Clone, Default)]
pub(crate) struct Outcome {
    /// Of each answered request.
    pub(crate) latencies: Vec<Duration>,
    pub(crate) elapsed: Duration,
    /// Processor time of the process that answered.
    pub(crate) cpu: Duration,
}

impl Target {
    /// `GET path`, with a token if there is one.
    pub(crate) fn get(address: SocketAddr, pid: u32, path: &str, token: Option<&str>) -> Self {
        let authorization = token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: application/json\r\n{authorization}\r\n");
        Self { address, pid, request: request.into_bytes().into() }
    }

    /// Asks over so many connections for so long.
    pub(crate) async fn burst(&self, connections: usize, duration: Duration) -> Result<Outcome, Failure> {
        let begin = Instant::now() + WARM_UP;
        let end = begin + duration;
        let mut tasks = JoinSet::new();
        for _ in 0..connections {
            tasks.spawn(ask(self.clone(), begin, end));
        }
        sleep_until(begin.into()).await;
        let before = cpu(self.pid)?;
        sleep_until(end.into()).await;
        let mut outcome = Outcome { elapsed: duration, cpu: cpu(self.pid)?.saturating_sub(before), ..Outcome::default() };
        let answers = async {
            while let Some(latencies) = tasks.join_next().await {
                outcome.latencies.extend(latencies??);
            }
            Ok(outcome)
        };
        timeout(PATIENCE, answers).await?
    }

    /// Asks over one connection, on a thread of its own, 200 times a second, until that is ended.
    pub(crate) fn ask_steadily(&self) -> Steady {
        let (stop, stopped) = oneshot::channel();
        let target = self.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(steadily(&target, stopped))
        });
        Steady { stop, thread }
    }
}

/// Somebody who asks steadily.
pub(crate) struct Steady {
    stop: oneshot::Sender<()>,
    thread: JoinHandle<Result<Vec<Duration>, Failure>>,
}

impl Steady {
    /// Asks no more. Returns how long each answer took, sorted.
    pub(crate) fn end(self) -> Result<Vec<Duration>, Failure> {
        drop(self.stop);
        let mut latencies = self.thread.join().map_err(|_| "a thread that asks panicked")??;
        latencies.sort_unstable();
        Ok(latencies)
    }
}

async fn steadily(target: &Target, mut stopped: oneshot::Receiver<()>) -> Result<Vec<Duration>, Failure> {
    let mut stream = TcpStream::connect(target.address).await?;
    stream.set_nodelay(true)?;
    let (mut buffer, mut latencies, mut pauses) = (vec![0; ROOM], Vec::new(), interval(PAUSE));
    loop {
        tokio::select! {
            _ = &mut stopped => return Ok(latencies),
            _ = pauses.tick() => {}
        }
        let start = Instant::now();
        stream.write_all(&target.request).await?;
        timeout(PATIENCE, read_answer(&mut stream, &mut buffer)).await??;
        latencies.push(start.elapsed());
    }
}

impl Outcome {
    pub(crate) fn add(&mut self, other: Self) {
        self.latencies.extend(other.latencies);
        self.elapsed += other.elapsed;
        self.cpu += other.cpu;
    }

    pub(crate) fn per_second(&self) -> f64 {
        self.count() / self.elapsed.as_secs_f64()
    }

    /// Processor time of the server for one request.
    pub(crate) fn cpu_per_request(&self) -> Duration {
        self.cpu.div_f64(self.count().max(1.0))
    }

    fn count(&self) -> f64 {
        u32::try_from(self.latencies.len()).map_or(f64::MAX, f64::from)
    }
}

/// Asks over one connection. Returns the latencies of what was answered between `begin` and `end`.
async fn ask(target: Target, begin: Instant, end: Instant) -> Result<Vec<Duration>, Failure> {
    let mut stream = TcpStream::connect(target.address).await?;
    stream.set_nodelay(true)?;
    let (mut buffer, mut latencies) = (vec![0; ROOM], Vec::new());
    for _ in 0..MOST {
        let start = Instant::now();
        if start >= end {
            break;
        }
        stream.write_all(&target.request).await?;
        read_answer(&mut stream, &mut buffer).await?;
        let answered = Instant::now();
        if start >= begin && answered <= end {
            latencies.push(answered - start);
        }
    }
    Ok(latencies)
}

async fn read_answer(stream: &mut TcpStream, buffer: &mut [u8]) -> Result<(), Failure> {
    let (mut filled, mut length) = (0, None);
    loop {
        let read = stream.read(&mut buffer[filled..]).await?;
        if read == 0 {
            return Err("a server closed a connection, or answered at too great length".into());
        }
        filled += read;
        if length.is_none() {
            length = answer_length(&buffer[..filled])?;
        }
        if length == Some(filled) {
            return Ok(());
        }
    }
}

/// Length of the whole answer, once its head is there.
fn answer_length(bytes: &[u8]) -> Result<Option<usize>, Failure> {
    const CONTENT_LENGTH: &[u8] = b"\r\ncontent-length: ";
    let Some(head) = find(bytes, b"\r\n\r\n") else { return Ok(None) };
    if !bytes.starts_with(b"HTTP/1.1 200 ") {
        return Err(format!("a request was refused: {}", String::from_utf8_lossy(bytes)).into());
    }
    let value = find(&bytes[..head], CONTENT_LENGTH).ok_or("an answer does not tell its length")? + CONTENT_LENGTH.len();
    let digits = bytes[value..].iter().map_while(|byte| char::from(*byte).to_digit(10));
    let length = digits.fold(0, |length: usize, digit| length * 10 + digit as usize);
    Ok(Some(head + 4 + length))
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}
