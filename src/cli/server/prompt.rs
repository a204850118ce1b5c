//! The first message for the agent: of the flag, or of standard input.

use std::io::{IsTerminal, Read};
use std::thread;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::cli::Failure;

/// How long the end of standard input is waited for. A program that pipes a prompt to us has long ended by then; one that holds the
/// pipe open for other reasons does not keep the agent from starting.
const PATIENCE: Duration = Duration::from_secs(1);
/// Longest prompt, in bytes, as of any message.
const MAX_BYTES: u64 = 64 * 1024;

/// A first message.
pub(super) enum Prompt {
    /// There is none, or it is this.
    Known(Option<String>),
    /// Standard input is still open: it is what comes until it closes.
    Later(oneshot::Receiver<Result<String, Failure>>),
}

/// The prompt of the flag, or else that of standard input, unless a person sits there.
pub(super) async fn find(flag: Option<String>) -> Result<Prompt, Failure> {
    if flag.is_some() || std::io::stdin().is_terminal() {
        return Ok(Prompt::Known(flag));
    }
    let (sender, mut prompt) = oneshot::channel();
    // A thread of our own: the runtime would wait for one of its own, and so for standard input, at the end.
    thread::Builder::new().name("stdin".to_owned()).spawn(move || {
        let _nobody_waits = sender.send(read());
    })?;
    let Ok(read) = timeout(PATIENCE, &mut prompt).await else {
        tracing::warn!("standard input is open: the agent starts, and is sent what comes once it closes");
        return Ok(Prompt::Later(prompt));
    };
    Ok(Prompt::Known(known(read?)?))
}

/// The prompt of what was read, if there is any.
pub(super) fn known(read: Result<String, Failure>) -> Result<Option<String>, Failure> {
    let text = read?;
    if text.is_empty() {
        return Ok(None);
    }
    tracing::info!(bytes = text.len(), "Read initial prompt from stdin");
    Ok(Some(text))
}

fn read() -> Result<String, Failure> {
    let mut bytes = Vec::new();
    let mut stdin = std::io::stdin().lock().take(MAX_BYTES + 1);
    stdin.read_to_end(&mut bytes).map_err(|error| format!("failed to read initial prompt from stdin: {error}"))?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(format!("the initial prompt on standard input is longer than {MAX_BYTES} bytes").into());
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
