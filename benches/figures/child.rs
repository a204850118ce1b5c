//! This program once more, in another part: what is measured against is a process of its own, as the server is.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use super::Failure;

/// A running part, which listens. It ends when it is dropped, or its parent is gone.
pub(crate) struct Child {
    pub(crate) address: SocketAddr,
    process: std::process::Child,
}

impl Child {
    /// Starts this program again with these arguments, and waits until it says where it listens.
    pub(crate) fn start(arguments: &[&str]) -> Result<Self, Failure> {
        let mut command = Command::new(std::env::current_exe()?);
        let mut process = command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let output = process.stdout.take().ok_or("no standard output")?;
        let mut child = Self { address: SocketAddr::from(([127, 0, 0, 1], 0)), process };
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        child.address = line.trim().parse()?;
        Ok(child)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ended_already = self.process.kill();
        let _ended_already = self.process.wait();
    }
}

/// Ends this process once standard input ends: its parent is gone then.
pub(crate) fn end_with_parent() {
    std::thread::spawn(|| {
        let _closed = std::io::stdin().read(&mut [0]);
        std::process::exit(0);
    });
}
