//! What is made of a program: terminal, conversation, messages on their way in and out. Everything but the program itself.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::domain::{AgentStatus, EventId, TerminalSize};

use super::super::conversation::{Change, Conversation, Now, Patience};
use super::super::format;
use super::super::history::{Saved, Saver};
use super::super::pty::Pty;
use super::super::terminal::{Emulator, Mark};
use super::outbox::Outbox;
use super::projection::Projection;
use super::sending::Sending;
use super::{Pace, SpawnOptions};

/// How many times as long as it takes to read a frame is waited until the next is read. Long answers take longer.
const FRAME_PAUSE: u32 = 10;

/// How a program that was asked to end is made to.
#[derive(Clone, Copy)]
struct Stop {
    /// When it is told that its terminal is gone, unless it was.
    hang_up_at: Option<Instant>,
    /// When it is killed.
    kill_at: Instant,
}

/// That the agent is idle is not told yet.
#[derive(Clone, Copy)]
struct HeldIdle {
    event: EventId,
    until: Instant,
}

/// What is due for a program that was asked to end.
pub(super) enum Urge {
    Nothing,
    HangUp,
    Kill,
}

/// See the module.
pub(super) struct Life {
    pub(super) pace: Pace,
    pub(super) emulator: Box<Emulator>,
    pub(super) conversation: Conversation,
    projection: Arc<Projection>,
    pub(super) screen: watch::Sender<Arc<str>>,
    title: Arc<str>,
    saver: Saver,
    progress: Saved,
    /// Until when to hold back that the agent is idle: it is told once what the agent said is stored, so that whoever was told
    /// can rely on it, but no later than this.
    held_idle: Option<HeldIdle>,
    pub(super) outbox: Outbox,
    pub(super) prompt: Option<Arc<str>>,
    pub(super) sending: Option<Sending>,
    /// When output that is not on the screen text yet is put there.
    frame_at: Option<Instant>,
    last_frame: Instant,
    /// What had scrolled off the screen then.
    mark: Mark,
    /// How long the last frame took.
    frame_cost: Duration,
    /// Once the program was asked to end.
    stop: Option<Stop>,
}

impl Life {
    pub(super) fn new(
        options: SpawnOptions,
        prompt: Option<Arc<str>>,
        (saver, progress): (Saver, Saved),
        screen: watch::Sender<Arc<str>>,
    ) -> Self {
        let now = Now::read();
        let SpawnOptions { agent_type, size, history, life, pace, .. } = options;
        let patience = Patience { quiet: pace.quiet, sign: pace.sign };
        let conversation = Conversation::new(agent_type, history, EventId::before(life), prompt.is_some(), patience, now);
        let mut outbox = Outbox::default();
        outbox.replace(format::rules(agent_type).wake);
        let emulator = Box::new(Emulator::new(size));
        Self {
            pace,
            mark: emulator.mark(),
            emulator,
            projection: Arc::new(Projection::new(conversation.messages().to_vec(), conversation.status(), conversation.event())),
            conversation,
            screen,
            title: Arc::from(""),
            saver,
            progress,
            held_idle: None,
            outbox,
            prompt,
            sending: None,
            frame_at: None,
            last_frame: now.instant,
            frame_cost: Duration::ZERO,
            stop: None,
        }
    }

    pub(super) fn projection(&self) -> Arc<Projection> {
        Arc::clone(&self.projection)
    }

    /// The next moment at which something is to be done.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let sending = self.sending.as_ref().map(|sending| sending.delivery.deadline());
        let stop = self.stop.map(|stop| stop.hang_up_at.unwrap_or(stop.kill_at).min(stop.kill_at));
        let conversation = self.conversation.deadline();
        let held_idle = self.held_idle.map(|held| held.until);
        let deadlines = [self.frame_at, self.emulator.frame_deadline(), conversation, sending, stop, held_idle];
        deadlines.into_iter().flatten().min()
    }

    /// Does what is due.
    pub(super) fn tick(&mut self) {
        let now = Instant::now();
        if self.emulator.frame_deadline().is_some_and(|at| at <= now) {
            let answers = self.emulator.end_frame();
            self.changed(&answers);
        }
        let due = |at: Instant| at <= now;
        let conversation_due = self.conversation.deadline().is_some_and(due);
        let sending_due = self.sending.as_ref().is_some_and(|sending| due(sending.delivery.deadline()));
        // Whatever is decided now is decided about the newest screen.
        if self.frame_at.is_some_and(due) || conversation_due || sending_due {
            self.render();
        }
        let changes = self.conversation.tick(Now::read());
        self.publish(changes);
        self.tell_idle();
        self.deliver();
        self.send_prompt();
    }

    /// Takes what the program wrote.
    pub(super) fn output(&mut self, bytes: &[u8]) {
        let answers = self.emulator.feed(bytes);
        self.changed(&answers);
    }

    /// The emulator took something in.
    fn changed(&mut self, answers: &[u8]) {
        if self.outbox.push(answers).is_err() {
            tracing::debug!("an agent asks its terminal but does not read the answers");
        }
        if self.frame_at.is_none() {
            let soon = Instant::now() + self.pace.first_frame;
            let pause = self.pace.frame.max(self.frame_cost * FRAME_PAUSE);
            self.frame_at = Some(soon.max(self.last_frame + pause));
        }
    }

    /// Brings the screen text and what depends on it up to date.
    pub(super) fn render(&mut self) {
        if self.frame_at.take().is_none() {
            return;
        }
        let now = Now::read();
        self.last_frame = now.instant;
        self.read_frame(now);
        self.frame_cost = now.instant.elapsed();
        self.deliver();
    }

    fn read_frame(&mut self, now: Now) {
        let title = self.emulator.title();
        if title != self.title {
            let changes = self.conversation.title_changed(&title, now);
            self.title = title;
            self.publish(changes);
        }
        let mark = self.emulator.mark();
        let text = self.emulator.text();
        // The same rows may have scrolled into view again.
        if *text == **self.screen.borrow() && mark == self.mark {
            return;
        }
        self.mark = mark;
        let text: Arc<str> = text.into();
        let changes = self.conversation.screen_changed(&text, self.emulator.with_scrollback(&text), now);
        self.publish(changes);
        self.screen.send_if_modified(|screen| {
            let is_new = *screen != text;
            *screen = text;
            is_new
        });
        if let Some(sending) = &mut self.sending {
            sending.delivery.screen_changed(now.instant);
        }
    }

    /// Tells of `changes`; returns how far the store must come to hold them.
    pub(super) fn publish(&mut self, changes: Vec<Change>) -> u64 {
        let mut stored_at = 0;
        for change in changes {
            match change {
                Change::Status(status, event) => self.publish_status(status, event),
                Change::Asks(asks) => self.projection.tell_asks(asks),
                Change::Message(message) => self.projection.tell_message(message),
                Change::Settled(message) => stored_at = self.saver.save(message),
            }
        }
        stored_at
    }

    fn publish_status(&mut self, status: AgentStatus, event: EventId) {
        if status == AgentStatus::Stable && self.is_storing() {
            self.held_idle = Some(HeldIdle { event, until: Instant::now() + self.pace.stored });
        } else if self.held_idle.take().is_none() {
            self.projection.tell_status(status, event);
        }
    }

    /// Whether the agent is idle and that is not told yet.
    pub(super) fn holds_idle(&self) -> bool {
        self.held_idle.is_some()
    }

    /// Tells that the agent is idle, if it was held back and need not be any longer.
    pub(super) fn tell_idle(&mut self) {
        if let Some(held) = self.held_idle
            && (!self.is_storing() || held.until <= Instant::now())
        {
            self.held_idle = None;
            self.projection.tell_status(AgentStatus::Stable, held.event);
        }
    }

    fn is_storing(&self) -> bool {
        *self.progress.borrow() < self.saver.latest()
    }

    /// What is to be written to the program next.
    pub(super) fn to_write(&self) -> &[u8] {
        self.outbox.front()
    }

    /// So many bytes of it were written.
    pub(super) fn written(&mut self, bytes: usize) {
        self.outbox.written(bytes);
        if self.outbox.is_empty()
            && let Some(sending) = &mut self.sending
        {
            sending.delivery.typed(&self.screen.borrow(), Instant::now());
        }
    }

    pub(super) fn resize(&mut self, pty: &Pty, size: TerminalSize) {
        self.emulator.resize(size);
        self.changed(&[]);
        if let Err(error) = pty.input.resize(size) {
            tracing::warn!(%error, "an agent's terminal cannot be resized");
        }
    }

    /// Asks the program to end, and has it killed after `grace`; asked again, the shorter grace counts.
    pub(super) fn stop(&mut self, pty: &Pty, grace: Duration) {
        let now = Instant::now();
        let kill_at = now + grace;
        if let Some(stop) = &mut self.stop {
            stop.kill_at = stop.kill_at.min(kill_at);
        } else {
            pty.program.terminate();
            self.stop = Some(Stop { hang_up_at: Some(now + self.pace.hang_up.min(grace / 2)), kill_at });
        }
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stop.is_some()
    }

    /// What a program that was asked to end is due now; each once.
    pub(super) fn urge(&mut self) -> Urge {
        let now = Instant::now();
        match &mut self.stop {
            Some(stop) if stop.kill_at <= now => Urge::Kill,
            Some(stop) if stop.hang_up_at.is_some_and(|at| at <= now) => {
                stop.hang_up_at = None;
                Urge::HangUp
            }
            _ => Urge::Nothing,
        }
    }

    /// Settles and stores everything; whoever listens or waits learns that the agent ended.
    pub(super) async fn close(mut self) {
        self.render();
        let changes = self.conversation.ended(Now::read());
        self.publish(changes);
        self.projection.close();
        drop((self.sending, self.screen));
        self.saver.close().await;
    }
}
