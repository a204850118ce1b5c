//! The task of an agent that speaks the protocol: its program, and the connection with it.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use agent_client_protocol::v1::{ConnectionTo, Responder};
use agent_client_protocol::{Agent, Client, UntypedMessage, on_receive_notification, on_receive_request};
use futures_util::FutureExt;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{ChildStderr, ChildStdin, ChildStdout};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};

use super::approvals::Overdue;
use super::inbound::Inbound;
use super::life::{Answer, Life, Own};
use super::wire::{self, Fault};
use super::{AcpError, Command, bounded};
use crate::agent::history::Saved;
use crate::agent::launch::{Launch, SpawnError};
use crate::agent::live::Ended;
use crate::agent::pipes::{self, Piped};
use crate::agent::pty::{Exit, Program};

/// Messages of the agent that may wait until they are looked at, which is at once.
const INBOX: usize = 32;
/// How long a program is given to end by itself when nobody holds it any more, or when it cannot be spoken to.
const FORGOTTEN_GRACE: Duration = Duration::from_secs(5);
/// How long a killed program may take to be gone; longer only if the kernel itself hangs on it.
const KILLED: Duration = Duration::from_secs(10);
/// From the program's end to the end of its output, which a process that left its group may hold open.
const LAST_OUTPUT: Duration = Duration::from_millis(500);
/// Bytes of one line of standard error that are read as one.
const MAX_STDERR_LINE: u64 = 4096;

/// A program with its pipes.
pub(super) struct Spawned {
    program: Program,
    stdin: ChildStdin,
    stdout: ChildStdout,
    stderr: ChildStderr,
}

/// Starts a program with pipes.
pub(super) fn spawn(launch: &Launch) -> Result<Spawned, SpawnError> {
    match pipes::spawn(launch, Stdio::piped())? {
        Piped { program, stdin: Some(stdin), stdout: Some(stdout), stderr: Some(stderr) } => {
            Ok(Spawned { program, stdin, stdout, stderr })
        }
        _ => Err(SpawnError::Invalid("the program has no pipes")),
    }
}

/// What the task begins with.
pub(super) struct Beginning {
    pub(super) spawned: Spawned,
    pub(super) life: Life,
    pub(super) work: PathBuf,
    pub(super) session: Option<String>,
    pub(super) saved: Saved,
    pub(super) commands: mpsc::Receiver<Command>,
    pub(super) overdue: mpsc::Receiver<Overdue>,
}

/// Lives until the program has ended and everything is stored.
pub(super) async fn live(beginning: Beginning) -> Ended {
    let Beginning { spawned, mut life, work, session, saved, commands, overdue } = beginning;
    let Spawned { program, stdin, stdout, stderr } = spawned;
    let fault = Fault::default();
    let last_words = Arc::new(Mutex::new(String::new()));
    let (to_inbox, inbox) = mpsc::channel(INBOX);
    let mut task = Task { program, inbox, commands, overdue, saved, fault: Arc::clone(&fault), stopped: false, kill_at: None };
    let (channel, moves) = wire::connect(stdin, stdout, fault);
    let requests = to_inbox.clone();
    let connected = Client
        .v1()
        .on_receive_request(
            async move |request: UntypedMessage, responder: Responder, _| {
                let _going = requests.send(Inbound::Request(Box::new((request, responder)))).await;
                Ok(())
            },
            on_receive_request!(),
        )
        .on_receive_notification(
            async move |notification: UntypedMessage, _| {
                let _going = to_inbox.send(Inbound::Notification(notification)).await;
                Ok(())
            },
            on_receive_notification!(),
        )
        .connect_with(channel, async |connection: ConnectionTo<Agent>| {
            life.open(connection.clone(), work, session);
            Ok(task.until_exit(&mut life, &connection).await)
        });
    let pipes = async {
        tokio::join!(moves, read_stderr(stderr, &last_words));
        std::future::pending::<()>().await;
    };
    let exit = tokio::select! {
        connected = connected => connected.ok(),
        () = pipes => None,
    };
    let exit = match exit {
        Some(exit) => exit,
        // The connection failed of itself.
        None => task.kill().await,
    };
    let words = last_words.lock().unwrap_or_else(PoisonError::into_inner).clone();
    // A program that is no longer listened to may end of that, sooner than it is seen here why.
    life.failed(task.fault.get().map_or(AcpError::Ended(words), |why| AcpError::NotAcp(why)));
    let end = Ended { stopped: task.stopped, exit_code: exit.code, signal: exit.signal };
    drop(task);
    life.ended();
    tracing::info!(stopped = end.stopped, exit_code = end.exit_code, signal = end.signal, "agent ended");
    life.close().await;
    end
}

/// What the task looks at.
struct Task {
    program: Program,
    inbox: mpsc::Receiver<Inbound>,
    commands: mpsc::Receiver<Command>,
    overdue: mpsc::Receiver<Overdue>,
    saved: Saved,
    fault: Fault,
    /// Whether it was asked to end, by whoever holds it.
    stopped: bool,
    /// When it is killed, once it was asked to end.
    kill_at: Option<Instant>,
}

/// What happened.
enum Event {
    Command(Option<Command>),
    Inbound(Inbound),
    Own(Own),
    Overdue(Overdue),
    Stored,
    Exit(Exit),
    OutputEnded,
    Deadline,
}

impl Task {
    async fn until_exit(&mut self, life: &mut Life, connection: &ConnectionTo<Agent>) -> Exit {
        let (mut held, mut speaks) = (true, true);
        loop {
            let now = Instant::now();
            if self.kill_at.is_some_and(|at| at <= now) {
                return self.kill().await;
            }
            // Before anything else, so that an agent that never pauses does not keep it from being done.
            if life.deadline().is_some_and(|at| at <= now) {
                life.tick();
            }
            match self.next(life, connection, held, speaks).await {
                Event::Command(Some(command)) => self.command(life, command),
                Event::Command(None) => {
                    held = false;
                    self.stop(life, FORGOTTEN_GRACE);
                }
                Event::Inbound(inbound) => life.inbound(inbound),
                Event::Own(Own::Answer(answer)) => {
                    if !life.answered(*answer) {
                        self.end_program(FORGOTTEN_GRACE);
                    }
                }
                Event::Overdue(overdue) => life.approvals.expire(overdue, &mut life.timeline),
                Event::Stored | Event::Own(Own::Stored) => life.tell_idle(),
                Event::OutputEnded => {
                    speaks = false;
                    if let Some(why) = self.fault.get() {
                        life.failed(AcpError::NotAcp(why));
                    }
                    self.end_program(FORGOTTEN_GRACE);
                }
                Event::Exit(exit) => {
                    self.last_output(life, connection).await;
                    return exit;
                }
                Event::Deadline => {}
            }
        }
    }

    async fn next(&mut self, life: &mut Life, connection: &ConnectionTo<Agent>, held: bool, speaks: bool) -> Event {
        let deadline = [life.deadline(), self.kill_at].into_iter().flatten().min();
        let holds_idle = life.conversation.teller.deadline().is_some();
        tokio::select! {
            biased;
            command = self.commands.recv(), if held => Event::Command(command),
            // Before what it answers: what it said in a turn came before the turn's end.
            Some(inbound) = self.inbox.recv() => Event::Inbound(inbound),
            own = life.next() => Event::Own(own),
            Some(overdue) = self.overdue.recv() => Event::Overdue(overdue),
            Ok(()) = self.saved.changed(), if holds_idle => Event::Stored,
            exit = self.program.ended() => Event::Exit(exit_or_unknown(exit)),
            () = connection.incoming_closed(), if speaks => Event::OutputEnded,
            () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => Event::Deadline,
        }
    }

    fn command(&mut self, life: &mut Life, command: Command) {
        match command {
            Command::User { text, reply } => life.user_message(&text, reply),
            Command::Cancel => life.cancel(),
            Command::Approval { id, option, user, reply } => life.approval(id, &option, user, reply),
            Command::Stop { grace } => self.stop(life, grace),
        }
    }

    fn stop(&mut self, life: &mut Life, grace: Duration) {
        self.stopped = true;
        life.cancel();
        self.end_program(grace);
    }

    /// Asks the program to end, and kills it after `grace`.
    fn end_program(&mut self, grace: Duration) {
        let at = Instant::now() + grace;
        self.kill_at = Some(self.kill_at.map_or(at, |kill_at| kill_at.min(at)));
        self.program.terminate();
    }

    async fn kill(&mut self) -> Exit {
        let Ok(exit) = timeout(KILLED, self.program.kill()).await else {
            tracing::error!("a killed agent is not gone");
            return Exit { code: None, signal: None };
        };
        exit_or_unknown(exit)
    }

    /// Takes what the program wrote before it ended.
    async fn last_output(&mut self, life: &mut Life, connection: &ConnectionTo<Agent>) {
        let rest = async {
            loop {
                tokio::select! {
                    biased;
                    Some(inbound) = self.inbox.recv() => life.inbound(inbound),
                    () = connection.incoming_closed() => break,
                }
            }
            while let Ok(inbound) = self.inbox.try_recv() {
                life.inbound(inbound);
            }
            if let Some(Own::Answer(answer)) = life.next().now_or_never()
                && matches!(*answer, Answer::Done(Ok(_)))
            {
                life.answered(*answer);
            }
        };
        if timeout(LAST_OUTPUT, rest).await.is_err() {
            tracing::debug!("an agent left a process that holds its output open");
        }
    }
}

/// Reads what a program writes to its standard error, and keeps its last words. They are not logged, for they may repeat what was said.
async fn read_stderr(stderr: ChildStderr, last_words: &Mutex<String>) {
    let mut stderr = BufReader::new(stderr);
    let mut line = Vec::new();
    loop {
        line.clear();
        // What is longer goes on as another line.
        match (&mut stderr).take(MAX_STDERR_LINE).read_until(b'\n', &mut line).await {
            Ok(1..) => {}
            Ok(0) | Err(_) => return,
        }
        tracing::trace!(bytes = line.len(), "an agent wrote to its standard error");
        let words = bounded::words(&String::from_utf8_lossy(&line));
        if !words.is_empty() {
            *last_words.lock().unwrap_or_else(PoisonError::into_inner) = words;
        }
    }
}

fn exit_or_unknown(exit: std::io::Result<Exit>) -> Exit {
    exit.unwrap_or_else(|error| {
        tracing::error!(%error, "an agent's exit status is unknown");
        Exit { code: None, signal: None }
    })
}
