//! What a handle has of an agent in a terminal, beside what all have.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};

use super::actor::Command;
use super::{Pace, Reply, ScreenSubscription, SendError};
use crate::agent::history::Saved;
use crate::domain::TerminalSize;

/// Asks the task of an agent to type.
pub(super) struct Typist {
    pub(super) pace: Pace,
    pub(super) screen: watch::Receiver<Arc<str>>,
    pub(super) commands: mpsc::Sender<Command>,
    pub(super) saved: Saved,
}

impl Typist {
    /// Its screen now.
    pub(super) fn screen(&self) -> Arc<str> {
        Arc::clone(&self.screen.borrow())
    }

    /// Its screen now and as it changes.
    pub(super) fn subscribe_screen(&self) -> ScreenSubscription {
        ScreenSubscription::new(self.screen.clone())
    }

    /// Types a message and hands it in; returns once it is stored as well, or has had the time for that.
    pub(super) async fn send_user(&self, text: &str) -> Result<(), SendError> {
        let text = Arc::from(text);
        let stored_at = self.ask(|reply| Command::User { text, reply }).await?;
        let mut saved = self.saved.clone();
        let stored = saved.wait_for(|number| *number >= stored_at);
        if !matches!(tokio::time::timeout(self.pace.stored, stored).await, Ok(Ok(_))) {
            tracing::warn!("a user message was sent before it could be stored");
        }
        Ok(())
    }

    /// Types keys as they are.
    pub(super) async fn send_raw(&self, keys: &str) -> Result<(), SendError> {
        let keys = keys.into();
        self.ask(|reply| Command::Raw { keys, reply }).await
    }

    /// Gives the terminal another size.
    pub(super) async fn resize(&self, size: TerminalSize) -> Result<(), SendError> {
        self.commands.send(Command::Resize(size)).await.map_err(|_| SendError::Ended)
    }

    /// Asks the program to end.
    pub(super) async fn stop(&self, grace: Duration) {
        let _ended_already = self.commands.send(Command::Stop { grace }).await;
    }

    async fn ask<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Result<T, SendError> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(reply)).await.map_err(|_| SendError::Ended)?;
        answer.await.unwrap_or(Err(SendError::Ended))
    }
}
