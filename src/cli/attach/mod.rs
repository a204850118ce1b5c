//! `agentapi attach`: an agent's terminal, shown in this one. Ctrl-C detaches; all else that is typed goes to the agent.

mod keyboard;
mod remote;
mod screen_events;
mod terminal;
mod token;

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use self::remote::Remote;
use self::screen_events::ScreenEvents;
use self::terminal::Terminal;
use super::Failure;

const DEFAULT_URL: &str = "localhost:3284";
/// Keystrokes that wait to be sent.
const KEYS: usize = 64;
/// How long what was typed may take to be sent after somebody detached.
const LAST_KEYS: Duration = Duration::from_secs(1);

/// An agent of `agentapi server`, or one agent of `agentapi serve`, whose address is that of the server and `/v1/agents/{id}`.
#[derive(Debug, Args)]
pub(super) struct Flags {
    /// Address of the agent; without it, the variable `AGENTAPI_URL` [default: localhost:3284]
    #[arg(long, short = 'u', value_name = "URL")]
    url: Option<String>,
    /// File with an API key, or with the token of `POST /v1/auth/login`; without it, the variable `AGENTAPI_TOKEN`. No flag takes
    /// the token itself: every user of a machine can read command lines
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

/// Shows the agent until somebody detaches or it ends.
pub(super) async fn run(flags: Flags) -> Result<(), Failure> {
    let variable = || std::env::var("AGENTAPI_URL").ok().filter(|url| !url.is_empty());
    let url = flags.url.or_else(variable).unwrap_or_else(|| DEFAULT_URL.to_owned());
    let remote = Remote::new(&url, token::read(flags.token_file.as_deref())?)?;
    remote.check().await?;
    let screens = ScreenEvents::new(remote.screens().await?);
    let terminal = Terminal::take()?;
    let ended = show(&remote, screens, &terminal).await;
    drop(terminal);
    if let Reason::AgentEnded = ended? {
        println!("the agent has ended, or its server has stopped");
    }
    Ok(())
}

enum Reason {
    Detached,
    AgentEnded,
}

async fn show(remote: &Remote, mut screens: ScreenEvents, terminal: &Terminal) -> Result<Reason, Failure> {
    let ((sender, keys), (detach, mut detached)) = (mpsc::channel(KEYS), oneshot::channel());
    keyboard::read(sender, detach)?;
    let (mut resized, mut hung_up) = (signal(SignalKind::window_change())?, signal(SignalKind::hangup())?);
    let (mut interrupted, mut terminated) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let mut typing = std::pin::pin!(type_keys(remote, keys));
    let mut shown = String::new();
    loop {
        tokio::select! {
            screen = screens.next() => match screen? {
                Some(screen) => {
                    terminal.show(&screen)?;
                    shown = screen;
                }
                None => return Ok(Reason::AgentEnded),
            },
            typed = &mut typing => return typed.map(|()| Reason::Detached),
            _ = &mut detached => {
                // A server that hangs keeps nobody here.
                let _in_time = timeout(LAST_KEYS, &mut typing).await;
                return Ok(Reason::Detached);
            }
            _ = resized.recv() => terminal.show(&shown)?,
            _ = hung_up.recv() => return Ok(Reason::Detached),
            _ = interrupted.recv() => return Ok(Reason::Detached),
            _ = terminated.recv() => return Ok(Reason::Detached),
        }
    }
}

/// Sends what is typed, a piece after the other, until there is no more.
async fn type_keys(remote: &Remote, mut keys: mpsc::Receiver<String>) -> Result<(), Failure> {
    while let Some(text) = keys.recv().await {
        remote.press(&text).await?;
    }
    Ok(())
}
