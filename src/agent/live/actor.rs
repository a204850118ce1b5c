//! The task of a live agent.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};
use tokio::task::yield_now;
use tokio::time::{sleep_until, timeout};
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use crate::domain::TerminalSize;

use super::super::history::{History, Saved, Saver};
use super::super::launch::SpawnError;
use super::super::pty::{Exit, Pty};
use super::life::{Life, Urge};
use super::projection::Projection;
use super::{Ended, Pace, Reply, SendError, SpawnOptions};

/// Output is read in pieces of this size; a pseudo-terminal hands out no more at once.
const PIECE: usize = 4096;
/// How long an agent is given to end by itself when nobody holds it any more.
const FORGOTTEN_GRACE: Duration = Duration::from_secs(5);
/// How long a killed program may take to be gone; longer only if the kernel itself hangs on it.
const KILLED: Duration = Duration::from_secs(10);

/// What a handle asks of its agent.
pub(super) enum Command {
    User { text: Arc<str>, reply: Reply<u64> },
    Raw { keys: Box<str>, reply: Reply<()> },
    Resize(TerminalSize),
    Stop { grace: Duration },
}

/// A program and what is made of it.
pub(super) struct Actor {
    pace: Pace,
    pty: Pty,
    life: Life,
    progress: Saved,
}

impl Actor {
    /// Starts the program.
    pub(super) fn start(
        options: SpawnOptions,
        history: impl History,
        tasks: &TaskTracker,
        screen: watch::Sender<Arc<str>>,
    ) -> Result<(Self, Saved), SpawnError> {
        let prompt = initial_prompt(options.initial_prompt.as_deref())?;
        let pty = Pty::spawn(&options.launch, options.size)?;
        let (saver, progress) = Saver::start(history, tasks);
        let pace = options.pace;
        let life = Life::new(options, prompt, (saver, progress.clone()), screen);
        Ok((Self { pace, pty, life, progress: progress.clone() }, progress))
    }

    pub(super) fn projection(&self) -> Arc<Projection> {
        self.life.projection()
    }

    /// Lives on a task of `tasks`.
    pub(super) fn run(self, commands: mpsc::Receiver<Command>, ended: watch::Sender<Option<Ended>>, tasks: &TaskTracker) {
        tasks.spawn(
            async move {
                let end = self.live(commands).await;
                ended.send_replace(Some(end));
            }
            .in_current_span(),
        );
    }

    async fn live(mut self, mut commands: mpsc::Receiver<Command>) -> Ended {
        let exit = self.until_exit(&mut commands).await;
        self.last_output().await;
        let Self { pty, life, .. } = self;
        drop(pty);
        let end = Ended { stopped: life.is_stopping(), exit_code: exit.code, signal: exit.signal };
        tracing::info!(stopped = end.stopped, exit_code = end.exit_code, signal = end.signal, "agent ended");
        drop(commands);
        life.close().await;
        end
    }

    async fn until_exit(&mut self, commands: &mut mpsc::Receiver<Command>) -> Exit {
        let Self { pty, life, progress, .. } = self;
        let mut piece = vec![0; PIECE];
        let (mut readable, mut writable, mut held) = (true, true, true);
        loop {
            let deadline = life.deadline();
            tokio::select! {
                command = commands.recv(), if held => match command {
                    Some(Command::Stop { grace }) => life.stop(pty, grace),
                    Some(Command::Resize(size)) => life.resize(pty, size),
                    Some(Command::User { text, reply }) => life.user_message(text, reply),
                    Some(Command::Raw { keys, reply }) => life.raw_input(&keys, reply),
                    None => {
                        held = false;
                        life.stop(pty, FORGOTTEN_GRACE);
                    }
                },
                read = pty.output.read(&mut piece), if readable => match read {
                    Ok(0) => readable = false,
                    Ok(bytes) => {
                        life.output(&piece[..bytes]);
                        // One agent's flood is not to keep others from their turn.
                        yield_now().await;
                    }
                    Err(error) => {
                        tracing::warn!(%error, "an agent's terminal cannot be read");
                        readable = false;
                    }
                },
                written = pty.input.write(life.to_write()), if writable && !life.to_write().is_empty() => match written {
                    Ok(bytes) => life.written(bytes),
                    // No process has the terminal open any more.
                    Err(_) => writable = false,
                },
                Ok(()) = progress.changed(), if life.holds_idle() => life.tell_idle(),
                exit = pty.program.ended() => break exit_or_unknown(exit),
                () = sleep_until(deadline.unwrap_or_else(Instant::now).into()), if deadline.is_some() => {
                    match life.urge() {
                        Urge::Kill => break kill(pty).await,
                        Urge::HangUp => pty.program.hang_up(),
                        Urge::Nothing => {}
                    }
                    life.tick();
                }
            }
        }
    }

    /// Reads what the program wrote before it ended.
    async fn last_output(&mut self) {
        let Self { pty, life, pace, .. } = self;
        let mut piece = vec![0; PIECE];
        let rest = async {
            while let Ok(bytes @ 1..) = pty.output.read(&mut piece).await {
                life.output(&piece[..bytes]);
            }
        };
        if timeout(pace.last_output, rest).await.is_err() {
            tracing::debug!("an agent left a process that holds its terminal open");
        }
    }
}

/// A first message as it is sent, if there is one.
pub(in crate::agent) fn initial_prompt(text: Option<&str>) -> Result<Option<Arc<str>>, SpawnError> {
    let text = super::trim_ascii(text.unwrap_or_default());
    match super::check_message(text) {
        Ok(()) => Ok(Some(text.into())),
        Err(SendError::Empty) => Ok(None),
        Err(_) => Err(SpawnError::Invalid("the initial prompt is too long")),
    }
}

async fn kill(pty: &mut Pty) -> Exit {
    let Ok(exit) = timeout(KILLED, pty.program.kill()).await else {
        tracing::error!("a killed agent is not gone");
        return Exit { code: None, signal: None };
    };
    exit_or_unknown(exit)
}

fn exit_or_unknown(exit: std::io::Result<Exit>) -> Exit {
    exit.unwrap_or_else(|error| {
        tracing::error!(%error, "an agent's exit status is unknown");
        Exit { code: None, signal: None }
    })
}
