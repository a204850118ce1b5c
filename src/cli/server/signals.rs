//! The signals that a single-agent server knows.

use tokio::signal::unix::{SignalKind, signal};

use super::state_file::StateFile;
use crate::agent::LiveAgent;
use crate::lifecycle::Lifecycle;

/// Stops the server at the first SIGINT, SIGTERM or SIGHUP; keeps the conversation at each SIGUSR1.
///
/// # Errors
/// If the signals cannot be listened to.
pub(super) fn watch(lifecycle: &Lifecycle, agent: LiveAgent, state: StateFile) -> std::io::Result<()> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let (mut hang_up, mut save) = (signal(SignalKind::hangup())?, signal(SignalKind::user_defined1())?);
    let stopping = lifecycle.stopping();
    lifecycle.tasks().spawn(async move {
        let name = loop {
            tokio::select! {
                _ = interrupt.recv() => break "SIGINT",
                _ = terminate.recv() => break "SIGTERM",
                _ = hang_up.recv() => break "SIGHUP",
                () = stopping.cancelled() => return,
                _ = save.recv() => match state.keep(agent.messages().to_vec(), false).await {
                    Ok(()) => tracing::info!(signal = "SIGUSR1", "the conversation is in the state file"),
                    Err(error) => tracing::error!(%error, "failed to save state"),
                },
            }
        };
        tracing::info!(signal = name, "stopping");
        stopping.cancel();
    });
    Ok(())
}
