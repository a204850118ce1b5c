//! A connection to a server that fails on purpose.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::support::free_port;

/// What becomes of connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// They lead to the server.
    Pass,
    /// They lead there after so long.
    Slow(Duration),
    /// They are taken and never answered.
    Hang,
    /// They are reset once something was sent.
    Reset,
    /// They are answered with what is no HTTP.
    Garbage,
    /// They are answered with this, whatever is asked.
    Answer(&'static str),
    /// A stream begins, and what follows is none.
    GarbledStream,
}

/// Stands between a client and a server. Gone when dropped.
pub(crate) struct Faults {
    pub(crate) address: SocketAddr,
    server: SocketAddr,
    mode: Arc<Mutex<Mode>>,
    running: CancellationToken,
    /// Ends the connections that are open.
    cut: CancellationToken,
    tasks: TaskTracker,
}

impl Faults {
    pub(crate) async fn start(server: SocketAddr) -> Self {
        let mut faults = Self {
            address: SocketAddr::from(([127, 0, 0, 1], free_port())),
            server,
            mode: Arc::new(Mutex::new(Mode::Pass)),
            running: CancellationToken::new(),
            cut: CancellationToken::new(),
            tasks: TaskTracker::new(),
        };
        faults.listen().await;
        faults
    }

    /// Ends all connections, and does this to others.
    pub(crate) async fn become_(&mut self, mode: Mode) {
        self.refuse().await;
        *self.mode.lock().expect("no test panics with it") = mode;
        self.listen().await;
    }

    /// Ends all connections, and refuses others.
    pub(crate) async fn refuse(&mut self) {
        self.running.cancel();
        self.cut.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        self.tasks.reopen();
    }

    async fn listen(&mut self) {
        (self.running, self.cut) = (CancellationToken::new(), CancellationToken::new());
        let listener = TcpListener::bind(self.address).await.expect("the port is free");
        let (server, mode, cut, tasks) = (self.server, self.mode.clone(), self.cut.clone(), self.tasks.clone());
        self.tasks.spawn(self.running.clone().run_until_cancelled_owned(async move {
            while let Ok((client, _)) = listener.accept().await {
                let mode = *mode.lock().expect("no test panics with it");
                tasks.spawn(serve(client, server, mode, cut.clone()));
            }
        }));
    }
}

impl Drop for Faults {
    fn drop(&mut self) {
        self.running.cancel();
        self.cut.cancel();
    }
}

async fn serve(mut client: TcpStream, server: SocketAddr, mode: Mode, cut: CancellationToken) {
    let _cut = cut.run_until_cancelled(Box::pin(serve_as(&mut client, server, mode))).await;
    // Whatever is under way breaks off with a reset.
    let _gone = client.set_zero_linger();
}

async fn serve_as(client: &mut TcpStream, server: SocketAddr, mode: Mode) -> std::io::Result<()> {
    if let Mode::Slow(pause) = mode {
        tokio::time::sleep(pause).await;
    }
    if matches!(mode, Mode::Pass | Mode::Slow(_)) {
        let mut server = TcpStream::connect(server).await?;
        tokio::io::copy_bidirectional(client, &mut server).await?;
        return Ok(());
    }
    let mut request = [0; 16 * 1024];
    loop {
        if client.read(&mut request).await? == 0 {
            return Ok(());
        }
        match mode {
            Mode::Reset => return Ok(()),
            Mode::Garbage => client.write_all(b"\x16\x03\x01 what is this\r\n\r\n").await?,
            Mode::Answer(head) => client.write_all(format!("HTTP/1.1 {head}\r\ncontent-length: 2\r\n\r\nno").as_bytes()).await?,
            Mode::GarbledStream => {
                let head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
                client.write_all(&[head.as_slice(), b"5\r\n\x00\xff\n\nx\r\nZZ\r\n"].concat()).await?;
            }
            Mode::Hang | Mode::Pass | Mode::Slow(_) => {}
        }
    }
}
