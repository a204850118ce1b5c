//! Commands that an agent has run for it: in its workspace, with its environment, counted, and killed with it.

use std::collections::HashMap;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use agent_client_protocol::v1::schema::{CreateTerminalRequest, TerminalExitStatus, TerminalId, TerminalOutputResponse};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use super::bounded::floor_char_boundary;
use super::files::{FileError, Files};
use crate::agent::launch::{Launch, SpawnError};
use crate::agent::pipes::{self, Piped};
use crate::agent::pty::{Exit, Program};

/// Terminals that an agent may have at once, ended ones that it has not released among them.
const MAX_TERMINALS: usize = 16;
/// Most output that is kept of one, in bytes, and as much as is kept where the agent does not say.
const MAX_OUTPUT: usize = 1024 * 1024;
/// From a command's end to the end of its output, which a process that it left may hold open.
const LAST_OUTPUT: Duration = Duration::from_millis(500);

/// Why a terminal is not to be had, for the agent.
#[derive(Debug, thiserror::Error)]
pub(super) enum TerminalError {
    #[error("there is no such terminal")]
    NotFound,
    #[error("there are 16 terminals: release one first")]
    TooMany,
    #[error("its working directory: {0}")]
    Folder(#[from] FileError),
    #[error(transparent)]
    Spawn(#[from] SpawnError),
}

/// The terminals of one agent.
pub(super) struct Terminals {
    /// How the agent itself was started.
    launch: Launch,
    files: Files,
    tasks: TaskTracker,
    open: HashMap<TerminalId, Terminal>,
}

struct Terminal {
    output: Arc<Mutex<Tail>>,
    exit: watch::Receiver<Option<Exit>>,
    kill: CancellationToken,
    _killed_when_dropped: DropGuard,
}

impl Terminals {
    pub(super) fn new(launch: Launch, files: Files, tasks: TaskTracker) -> Self {
        Self { launch, files, tasks, open: HashMap::new() }
    }

    /// Starts a command. One without arguments is a line for the shell, as agents expect.
    pub(super) fn create(&mut self, request: &CreateTerminalRequest) -> Result<TerminalId, TerminalError> {
        if self.open.len() >= MAX_TERMINALS {
            return Err(TerminalError::TooMany);
        }
        let Piped { program, stdout, stderr, .. } = pipes::spawn(&self.launch_of(request)?, Stdio::null())?;
        let limit = request.output_byte_limit.map_or(MAX_OUTPUT, |limit| usize::try_from(limit).unwrap_or(MAX_OUTPUT));
        let output = Arc::new(Mutex::new(Tail { bytes: Vec::new(), limit: limit.min(MAX_OUTPUT), truncated: false }));
        let reading = [stdout.map(Source::Out), stderr.map(Source::Err)];
        let (ended, exit) = watch::channel(None);
        let kill = CancellationToken::new();
        self.tasks.spawn(run(program, reading, Arc::clone(&output), ended, kill.clone()));
        let id = TerminalId::new(Uuid::now_v7().to_string());
        let terminal = Terminal { output, exit, _killed_when_dropped: kill.clone().drop_guard(), kill };
        self.open.insert(id.clone(), terminal);
        Ok(id)
    }

    /// What it has put out so far, and how it ended if it has.
    pub(super) fn output(&self, id: &TerminalId) -> Result<TerminalOutputResponse, TerminalError> {
        let terminal = self.get(id)?;
        let tail = lock(&terminal.output);
        let status = terminal.exit.borrow().map(exit_status);
        Ok(TerminalOutputResponse::new(tail.text(), tail.truncated).exit_status(status))
    }

    /// Waits for its end.
    pub(super) fn exit(&self, id: &TerminalId) -> Result<impl Future<Output = TerminalExitStatus> + use<>, TerminalError> {
        let mut exit = self.get(id)?.exit.clone();
        Ok(async move {
            let known = exit.wait_for(Option::is_some).await.ok().and_then(|exit| *exit);
            known.map_or_else(TerminalExitStatus::new, exit_status)
        })
    }

    /// Ends its command; what it put out can still be asked for.
    pub(super) fn kill(&self, id: &TerminalId) -> Result<(), TerminalError> {
        self.get(id)?.kill.cancel();
        Ok(())
    }

    /// Ends its command and forgets it.
    pub(super) fn release(&mut self, id: &TerminalId) -> Result<(), TerminalError> {
        self.open.remove(id).map(drop).ok_or(TerminalError::NotFound)
    }

    fn get(&self, id: &TerminalId) -> Result<&Terminal, TerminalError> {
        self.open.get(id).ok_or(TerminalError::NotFound)
    }

    fn launch_of(&self, request: &CreateTerminalRequest) -> Result<Launch, TerminalError> {
        let (program, args) = if request.args.is_empty() {
            ("/bin/sh".to_owned(), vec!["-c".to_owned(), request.command.clone()])
        } else {
            (request.command.clone(), request.args.clone())
        };
        let directory = self.files.folder(request.cwd.as_deref().unwrap_or(&PathBuf::new()))?;
        let mut env = self.launch.env.clone();
        env.extend(request.env.iter().map(|variable| (variable.name.clone().into(), variable.value.clone().into())));
        Ok(Launch { program, args, directory, env })
    }
}

enum Source {
    Out(tokio::process::ChildStdout),
    Err(tokio::process::ChildStderr),
}

async fn run(
    mut program: Program,
    sources: [Option<Source>; 2],
    output: Arc<Mutex<Tail>>,
    ended: watch::Sender<Option<Exit>>,
    kill: CancellationToken,
) {
    let [first, second] = sources;
    let mut reading = std::pin::pin!(async { tokio::join!(read(first, &output), read(second, &output)) });
    let mut read_all = false;
    let exit = loop {
        tokio::select! {
            _ = &mut reading, if !read_all => read_all = true,
            () = kill.cancelled() => break program.kill().await,
            exit = program.ended() => break exit,
        }
    };
    if !read_all {
        let _held_open = timeout(LAST_OUTPUT, reading).await;
    }
    ended.send_replace(Some(exit.unwrap_or(Exit { code: None, signal: None })));
}

async fn read(source: Option<Source>, output: &Mutex<Tail>) {
    match source {
        Some(Source::Out(source)) => read_all(source, output).await,
        Some(Source::Err(source)) => read_all(source, output).await,
        None => {}
    }
}

async fn read_all(mut source: impl AsyncRead + Unpin, output: &Mutex<Tail>) {
    let mut piece = vec![0; 16 * 1024];
    while let Ok(bytes @ 1..) = source.read(&mut piece).await {
        lock(output).push(&piece[..bytes]);
    }
}

fn lock(output: &Mutex<Tail>) -> MutexGuard<'_, Tail> {
    output.lock().unwrap_or_else(PoisonError::into_inner)
}

fn exit_status(exit: Exit) -> TerminalExitStatus {
    let code = exit.code.and_then(|code| u32::try_from(code).ok());
    TerminalExitStatus::new().exit_code(code).signal(exit.signal.map(|signal| signal.to_string()))
}

/// The end of what a command put out.
struct Tail {
    bytes: Vec<u8>,
    limit: usize,
    truncated: bool,
}

impl Tail {
    fn push(&mut self, piece: &[u8]) {
        self.bytes.extend_from_slice(piece);
        // Cut seldom, so that a byte is moved once or twice at most.
        if self.bytes.len() > self.limit.saturating_mul(2).max(64 * 1024) {
            self.bytes.drain(..self.bytes.len() - self.limit);
            self.truncated = true;
        }
        self.truncated |= self.bytes.len() > self.limit;
    }

    fn text(&self) -> String {
        let text = String::from_utf8_lossy(&self.bytes);
        let cut = text.len().saturating_sub(self.limit);
        // To the beginning of the next character.
        let from = (cut..=text.len()).find(|&from| floor_char_boundary(&text, from) == from).unwrap_or(text.len());
        text[from..].to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_the_output_is_kept() {
        let mut tail = Tail { bytes: Vec::new(), limit: 5, truncated: false };
        tail.push(b"abc");
        assert_eq!((tail.text().as_str(), tail.truncated), ("abc", false));
        tail.push("dä!".as_bytes());
        assert_eq!((tail.text().as_str(), tail.truncated), ("cdä!", true));
        for _ in 0..100_000 {
            tail.push(b"xyz");
            assert!(tail.bytes.len() <= 64 * 1024 + 3);
        }
        assert_eq!(tail.text(), "yzxyz");
    }
}
