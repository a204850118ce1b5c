//! The task of a remote agent: follows its stream of events, over and over.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::body::Bytes;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::back_off::BackOff;
use super::client::Client;
use super::mirror::Mirror;
use super::pace::Pace;
use super::sse::{Parser, Sent};
use super::wire::Event;
use super::{Link, RemoteError};
use crate::agent::teller::Teller;
use crate::outbound::Body;

/// How long a stream may be silent before it has told the agent's status, which every server does at its beginning.
const FIRST_STATUS: Duration = Duration::from_secs(5);

/// See the module.
pub(super) struct Follower {
    client: Arc<Client>,
    mirror: Mirror,
    teller: Teller,
    link: watch::Sender<Link>,
    wake: Arc<Notify>,
    /// The server's id of the last event that was taken, if it gives ids.
    last_event: Option<String>,
    /// Since when the stream tells what happens.
    up_since: Option<Instant>,
}

impl Follower {
    pub(super) fn new(client: Arc<Client>, mirror: Mirror, teller: Teller, link: watch::Sender<Link>, wake: Arc<Notify>) -> Self {
        Self { client, mirror, teller, link, wake, last_event: None, up_since: None }
    }

    /// Follows until it is told to stop.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let mut back_off = BackOff::default();
        let mut is_known_away = false;
        loop {
            let why = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                why = self.follow() => why,
            };
            self.teller.settle();
            if self.mirror.holds_back() {
                // It is to be told again.
                self.last_event = None;
            }
            let held = self.up_since.take().map(|since| since.elapsed());
            if held.is_some() || !is_known_away {
                tracing::warn!(%why, "a remote agent is away");
                is_known_away = true;
            }
            let retry_at = Instant::now() + back_off.after(held, &why);
            self.link.send_replace(Link::Down { why, retry_at });
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                () = sleep_until(retry_at) => {}
                () = self.wake.notified() => {}
            }
        }
        self.teller.close().await;
    }

    /// Connects, and takes what is told, until it is no more. Says why.
    async fn follow(&mut self) -> RemoteError {
        let mut stream = match self.client.events(self.last_event.as_deref()).await {
            Ok(stream) => stream,
            Err(error) => return error,
        };
        self.mirror.connected();
        if self.last_event.is_some() {
            // It goes on after what we know: where nothing happened since, there is nothing to tell.
            self.is_up();
        }
        let (mut parser, mut pace, mut progress) = (Parser::default(), Pace::default(), self.teller.progress());
        let mut first_status = Instant::now() + FIRST_STATUS;
        loop {
            let deadline = if self.up_since.is_some() { self.teller.deadline() } else { Some(first_status) };
            tokio::select! {
                piece = next_piece(&mut stream) => match piece {
                    Ok(piece) => {
                        self.take(&mut parser, &piece);
                        let wait = pace.wait(piece.len());
                        if !wait.is_zero() {
                            sleep(wait).await;
                        }
                        first_status = Instant::now() + FIRST_STATUS;
                    }
                    Err(error) => return error,
                },
                Ok(()) = progress.changed(), if self.teller.deadline().is_some() => self.teller.tell_idle(),
                () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => {
                    if self.up_since.is_none() {
                        return RemoteError::NotAgentApi("it does not tell the agent's status");
                    }
                    self.teller.tell_idle();
                }
            }
        }
    }

    fn take(&mut self, parser: &mut Parser, piece: &Bytes) {
        for sent in parser.push(piece) {
            match sent {
                Sent::Event { name, data } => self.event(Event::read(&name, &data)),
                Sent::TooLarge => tracing::warn!("an event of a remote agent is too large and is left out"),
            }
        }
        if let Some(id) = parser.last_id() {
            self.last_event = Some(id.to_owned());
        }
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Message(update) => self.mirror.hear(update).into_iter().for_each(|message| self.teller.message(message)),
            Event::Status(status) => {
                self.teller.status(status);
                self.is_up();
            }
            Event::Other => {}
        }
    }

    /// The agent's status is known.
    fn is_up(&mut self) {
        if self.up_since.is_none() {
            self.up_since = Some(Instant::now());
            tracing::info!("a remote agent is followed");
            self.link.send_replace(Link::Up);
        }
    }
}

/// The next piece of a stream. Safe to cancel.
pub(super) async fn next_piece(stream: &mut Body) -> Result<Bytes, RemoteError> {
    loop {
        match stream.frame().await {
            Some(Ok(frame)) => {
                if let Ok(piece) = frame.into_data() {
                    return Ok(piece);
                }
            }
            Some(Err(_)) | None => return Err(RemoteError::BrokenOff),
        }
    }
}
