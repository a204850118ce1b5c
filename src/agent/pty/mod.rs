//! A program in a pseudo-terminal, and its end.

pub(super) mod process_group;

use std::ffi::OsStr;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use pty_process::{OwnedReadPty, OwnedWritePty};
use rustix::process::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Child;

use crate::domain::TerminalSize;
use crate::open_files;

use super::launch::{Launch, SpawnError};

use self::process_group::{Mark, ProcessGroup};

/// A running program: the session leader of its own pseudo-terminal.
///
/// Dropping it kills the program with all it started.
pub(crate) struct Pty {
    /// The program's terminal, to read what it writes.
    pub(crate) output: Output,
    /// The program's terminal, to write what it reads.
    pub(crate) input: Input,
    /// The program.
    pub(crate) program: Program,
}

impl Pty {
    /// Starts a program in a terminal of `size`.
    ///
    /// # Errors
    /// [`SpawnError`]: the caller's mistake if the program cannot be run, otherwise the machine's.
    pub(crate) fn spawn(launch: &Launch, size: TerminalSize) -> Result<Self, SpawnError> {
        let program = launch.resolve()?;
        let (pty, pts) = pty_process::open().map_err(into_io)?;
        pty.resize(pty_size(size)).map_err(into_io)?;
        let mark = Mark::new();
        let (name, value) = mark.variable();
        let child = pty_process::Command::new(program)
            .arg0(OsStr::new(&launch.program))
            .args(&launch.args)
            .current_dir(&launch.directory)
            .env_clear()
            .envs(&launch.env)
            .env(name, value)
            .kill_on_drop(true)
            .spawn(pts)
            .map_err(|error| launch.explain(into_io(error)))?;
        let program = Program::of(child, &mark);
        let (output, input) = pty.into_split();
        Ok(Self { output: Output(output), input: Input(input), program })
    }
}

fn into_io(error: pty_process::Error) -> io::Error {
    match error {
        pty_process::Error::Io(error) => error,
        pty_process::Error::Rustix(error) => error.into(),
        other => io::Error::other(other.to_string()),
    }
}

fn pty_size(size: TerminalSize) -> pty_process::Size {
    pty_process::Size::new(size.height(), size.width())
}

/// What the program writes.
pub(crate) struct Output(OwnedReadPty);

impl Output {
    /// Reads some bytes; 0 once no process has the terminal open any more. Safe to cancel.
    pub(crate) async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0.read(buffer).await {
            // How Linux reports that the other side is closed.
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error()) => Ok(0),
            result => result,
        }
    }
}

/// What the program reads.
pub(crate) struct Input(OwnedWritePty);

impl Input {
    /// Writes some of `bytes`; returns how many. Waits while the program does not read. Safe to cancel.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes).await
    }

    /// Gives the terminal another size; the program is told by a signal.
    pub(crate) fn resize(&self, size: TerminalSize) -> io::Result<()> {
        self.0.resize(pty_size(size)).map_err(into_io)
    }
}

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Exit {
    /// Its exit code, if it exited.
    pub(crate) code: Option<i32>,
    /// The signal that ended it, otherwise.
    pub(crate) signal: Option<i32>,
}

impl From<ExitStatus> for Exit {
    fn from(status: ExitStatus) -> Self {
        Self { code: status.code(), signal: status.signal() }
    }
}

/// The program's process and those it started.
pub(crate) struct Program {
    child: Child,
    group: ProcessGroup,
}

impl Program {
    /// A process that leads its process group, started with `mark` in its environment.
    pub(in crate::agent) fn of(child: Child, mark: &Mark) -> Self {
        let group = ProcessGroup::of(&child, mark);
        if let Some(leader) = group.leader() {
            open_files::give_back(leader);
        }
        Self { child, group }
    }

    /// Waits until the program ends, then kills what it left behind. Safe to cancel, and to ask again.
    pub(crate) async fn ended(&mut self) -> io::Result<Exit> {
        let status = self.child.wait().await;
        self.group.kill();
        Ok(status?.into())
    }

    /// Asks the program and all it started to end (SIGTERM).
    pub(crate) fn terminate(&self) {
        self.group.signal(Signal::TERM);
    }

    /// Tells the program and all it started that their terminal is gone (SIGHUP): ends interactive shells, which ignore SIGTERM.
    pub(crate) fn hang_up(&self) {
        self.group.signal(Signal::HUP);
    }

    /// Ends the program and all it started at once, and waits until it is reaped.
    pub(crate) async fn kill(&mut self) -> io::Result<Exit> {
        self.group.kill();
        self.ended().await
    }
}
