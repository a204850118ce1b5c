//! Requests to a live agent that end in keys at its terminal.

use std::sync::Arc;
use std::time::Instant;

use super::super::conversation::{Now, Refusal};
use super::super::terminal::Mark;
use super::super::typing;
use super::delivery::{Action, Delivery};
use super::life::Life;
use super::{Reply, SendError};

/// A user message being delivered, and who waits for it.
pub(super) struct Sending {
    text: Arc<str>,
    bracketed_paste: bool,
    pub(super) delivery: Delivery,
    /// What scrolled off the screen until the text was typed belongs to what was said before.
    mark: Mark,
    /// Nobody waits for the initial prompt.
    reply: Option<Reply<u64>>,
}

impl Life {
    /// Begins to deliver a user message, unless the agent is busy.
    pub(super) fn user_message(&mut self, text: Arc<str>, reply: Reply<u64>) {
        // The agent may have gone on since the last frame.
        self.render();
        self.send(text, Some(reply));
    }

    /// Sends the initial prompt once it is due.
    pub(super) fn send_prompt(&mut self) {
        if self.conversation.prompt_is_due()
            && let Some(prompt) = self.prompt.take()
        {
            self.send(prompt, None);
        }
    }

    /// Writes `keys` to the program, behind what waits.
    pub(super) fn raw_input(&mut self, keys: &str, reply: Reply<()>) {
        let _caller_went_away = reply.send(self.outbox.push(keys.as_bytes()).map_err(|_| SendError::Unresponsive));
    }

    /// Claims the conversation and types the text.
    fn send(&mut self, text: Arc<str>, reply: Option<Reply<u64>>) {
        let now = Now::read();
        let changes = match self.conversation.begin_sending(now) {
            Ok(changes) => changes,
            Err(Refusal::Busy) => return answer(reply, Err(SendError::Busy)),
            Err(Refusal::Asks) => return answer(reply, Err(SendError::Asks)),
        };
        self.publish(changes);
        let bracketed_paste = self.emulator.bracketed_paste();
        if self.outbox.push(&typing::keys(&text, bracketed_paste)).is_err() {
            let changes = self.conversation.not_sent();
            self.publish(changes);
            return answer(reply, Err(SendError::Unresponsive));
        }
        let delivery = Delivery::start(Arc::clone(&self.screen.borrow()), self.pace, now.instant);
        self.sending = Some(Sending { text, bracketed_paste, delivery, mark: self.emulator.mark(), reply });
    }

    /// Does what the message on its way asks for.
    pub(super) fn deliver(&mut self) {
        while let Some(mut sending) = self.sending.take() {
            let action = sending.delivery.next(&self.screen.borrow(), Instant::now());
            match action {
                Action::Delivered => return self.delivered(sending),
                Action::GiveUp => return self.give_up(sending),
                Action::Wait => {
                    self.sending = Some(sending);
                    return;
                }
                Action::PressReturn => {
                    self.sending = Some(sending);
                    if self.outbox.push(typing::RETURN).is_err() {
                        tracing::debug!("an agent does not read its input");
                    }
                }
            }
        }
    }

    fn delivered(&mut self, Sending { text, delivery, mark, reply, .. }: Sending) {
        self.emulator.forget_before(mark);
        let shown = self.emulator.with_scrollback(&self.screen.borrow());
        let changes = self.conversation.sent(text, delivery.into_before(), shown, Now::read());
        let stored_at = self.publish(changes);
        answer(reply, Ok(stored_at));
    }

    fn give_up(&mut self, Sending { bracketed_paste, delivery, reply, .. }: Sending) {
        // Nothing that still waits is of use to a program that did not read it so far.
        self.outbox.replace(&typing::take_back(bracketed_paste, delivery.is_typing()));
        if reply.is_none() {
            tracing::warn!("an agent did not react to its initial prompt");
        }
        let changes = self.conversation.not_sent();
        self.publish(changes);
        answer(reply, Err(SendError::Unresponsive));
    }
}

fn answer(reply: Option<Reply<u64>>, result: Result<u64, SendError>) {
    if let Some(reply) = reply {
        let _caller_went_away = reply.send(result);
    }
}
