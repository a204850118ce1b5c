//! The server to compare with: axum and one handler, and nothing around it. A process of its own, as the real one is.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use axum::routing::get;
use axum::{Json, Router};
use serde_json::Value;

use super::Failure;

/// A running bare server. It ends when it is dropped, or its parent is gone.
pub(crate) struct Bare {
    pub(crate) address: SocketAddr,
    process: Child,
}

impl Bare {
    /// Starts this program again, as a server that answers with `body`.
    pub(crate) fn start(body: &str) -> Result<Self, Failure> {
        let mut command = Command::new(std::env::current_exe()?);
        let mut process = command.args(["--bare", body]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let output = process.stdout.take().ok_or("no standard output")?;
        let mut bare = Self { address: SocketAddr::from(([127, 0, 0, 1], 0)), process };
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        bare.address = line.trim().parse()?;
        Ok(bare)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        let _ended_already = self.process.kill();
        let _ended_already = self.process.wait();
    }
}

/// Serves `body`, serialized anew for each request, until standard input ends.
pub(crate) fn serve(body: &str) -> Result<(), Failure> {
    let body: Value = serde_json::from_str(body)?;
    std::thread::spawn(|| {
        let _closed = std::io::stdin().read(&mut [0]);
        std::process::exit(0);
    });
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await?;
        writeln!(std::io::stdout(), "{}", listener.local_addr()?)?;
        let app = Router::new().route("/", get(move || std::future::ready(Json(body.clone()))));
        Ok(axum::serve(listener, app).await?)
    })
}
