//! Viewers of an agent, on a thread of their own: each reads an event stream, and notes when it sees a stamp for the first time.

use std::net::SocketAddr;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::{Failure, programs};

/// Longest until a viewer is served.
const PATIENCE: Duration = Duration::from_secs(30);
/// More than an event of an agent that ticks.
const ROOM: usize = 16 * 1024;

/// An event stream.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    pub(crate) address: SocketAddr,
    pub(crate) path: String,
    pub(crate) token: String,
}

/// People who watch. They go when this is dropped.
pub(crate) struct Audience {
    sights: Arc<Mutex<Vec<Sight>>>,
    leave: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<Result<(), Failure>>>,
}

/// A viewer saw a stamp.
#[derive(Debug, Clone, Copy)]
struct Sight {
    stamp: u64,
    seen: u64,
}

impl Audience {
    /// Waits until all of them are served.
    pub(crate) async fn gather(source: &Source, viewers: usize) -> Result<Self, Failure> {
        let (leave, left) = oneshot::channel();
        let (all, all_here) = oneshot::channel();
        let sights = Arc::new(Mutex::new(Vec::new()));
        let (source, shared) = (source.clone(), Arc::clone(&sights));
        let thread = std::thread::spawn(move || {
            // This thread only: the server, and who asks it something, come first.
            rustix::process::nice(19)?;
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let mut watching = JoinSet::new();
                for _ in 0..viewers {
                    let mut stream = timeout(PATIENCE, open(&source)).await??;
                    let sights = Arc::clone(&shared);
                    watching.spawn(async move { watch(&mut stream, &sights).await });
                }
                let _nobody_waits = all.send(());
                tokio::select! {
                    _ = left => Ok(()),
                    Some(ended) = watching.join_next() => ended?,
                }
            })
        });
        let mut audience = Self { sights, leave: Some(leave), thread: Some(thread) };
        if all_here.await.is_err() {
            audience.end()?;
            return Err("viewers are not served".into());
        }
        Ok(audience)
    }

    /// From writing each stamp within `span` to when a viewer saw it, for every viewer; sorted.
    pub(crate) fn disperse(mut self, span: &Range<u64>) -> Result<Vec<Duration>, Failure> {
        self.end()?;
        let sights = self.sights.lock().unwrap_or_else(PoisonError::into_inner);
        let sights = sights.iter().filter(|sight| span.contains(&sight.stamp));
        let mut latencies: Vec<Duration> =
            sights.map(|sight| Duration::from_nanos(sight.seen.saturating_sub(sight.stamp))).collect();
        latencies.sort_unstable();
        Ok(latencies)
    }

    fn end(&mut self) -> Result<(), Failure> {
        drop(self.leave.take());
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(result)) => result,
            Some(Err(_)) => Err("a viewer panicked".into()),
            None => Ok(()),
        }
    }
}

impl Drop for Audience {
    fn drop(&mut self) {
        // What failed was told, or something else is.
        let _ended = self.end();
    }
}

async fn open(source: &Source) -> Result<TcpStream, Failure> {
    let mut stream = TcpStream::connect(source.address).await?;
    let Source { path, token, .. } = source;
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\nAuthorization: Bearer {token}\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut status = [0; 13];
    stream.read_exact(&mut status).await?;
    if status != *b"HTTP/1.1 200 " {
        return Err(format!("a viewer is refused: {}", String::from_utf8_lossy(&status)).into());
    }
    Ok(stream)
}

/// Reads until the stream ends, which is a failure here.
async fn watch(stream: &mut TcpStream, sights: &Mutex<Vec<Sight>>) -> Result<(), Failure> {
    let (mut buffer, mut filled, mut newest) = (vec![0; ROOM], 0, 0);
    loop {
        let read = stream.read(&mut buffer[filled..]).await?;
        if read == 0 {
            return Err("an event stream ended".into());
        }
        let seen = programs::now();
        filled += read;
        let (stamps, done) = programs::stamps(&buffer[..filled]);
        buffer.copy_within(done..filled, 0);
        filled -= done;
        let mut sights = sights.lock().unwrap_or_else(PoisonError::into_inner);
        for stamp in stamps {
            if stamp > newest {
                newest = stamp;
                sights.push(Sight { stamp, seen });
            }
        }
    }
}
