//! The screens of a remote agent, passed on from its server for as long as somebody watches.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::RemoteError;
use super::client::Client;
use super::follower::next_piece;
use super::sse::{Parser, Sent};
use super::wire;
use crate::agent::live::ScreenSubscription;
use crate::outbound::{Body, OutboundError};

/// How long the first screen may take.
const FIRST_SCREEN: Duration = Duration::from_secs(5);

/// A stream of screens.
struct Screens {
    stream: Body,
    parser: Parser,
}

/// Begins to watch, if not too many do.
pub(super) async fn subscribe(
    client: &Client,
    viewers: &Arc<Semaphore>,
    detached: &CancellationToken,
    tasks: &TaskTracker,
) -> Result<ScreenSubscription, RemoteError> {
    let place = viewers.clone().try_acquire_owned().map_err(|_| OutboundError::Overloaded)?;
    let mut screens = Screens { stream: client.screens().await?, parser: Parser::default() };
    let first = timeout(FIRST_SCREEN, screens.next()).await.unwrap_or(Err(RemoteError::NotAgentApi("it shows no screen")))?;
    let (sender, receiver) = watch::channel(first);
    let detached = detached.clone();
    tasks.spawn(async move {
        let _place = place;
        loop {
            let screen = tokio::select! {
                () = sender.closed() => return,
                () = detached.cancelled() => return,
                screen = screens.next() => screen,
            };
            let Ok(screen) = screen else { return };
            sender.send_replace(screen);
        }
    });
    Ok(ScreenSubscription::new(receiver))
}

impl Screens {
    /// The newest screen that has come, once one has. Safe to cancel.
    async fn next(&mut self) -> Result<Arc<str>, RemoteError> {
        loop {
            let piece = next_piece(&mut self.stream).await?;
            let sent = self.parser.push(&piece);
            let screen = sent.iter().rev().find_map(|sent| match sent {
                Sent::Event { name, data } => wire::screen(name, data),
                Sent::TooLarge => None,
            });
            if let Some(screen) = screen {
                return Ok(screen);
            }
        }
    }
}
