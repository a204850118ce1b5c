//! Bytes on their way to a program that may be slow to read them.

use std::collections::VecDeque;

/// Bytes that may wait: a few of the largest messages.
const CAPACITY: usize = 256 * 1024;

/// A bounded queue of bytes.
#[derive(Default)]
pub(super) struct Outbox(VecDeque<u8>);

/// The program does not read what it is sent.
#[derive(Debug)]
pub(super) struct Full;

impl Outbox {
    /// Queues all of `bytes`, or none.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<(), Full> {
        if self.0.len() + bytes.len() > CAPACITY {
            return Err(Full);
        }
        self.0.extend(bytes);
        Ok(())
    }

    /// Queues `bytes`, in place of all that waits.
    pub(super) fn replace(&mut self, bytes: &[u8]) {
        self.0.clear();
        self.0.extend(bytes);
    }

    /// The next bytes to write; empty if none wait.
    pub(super) fn front(&self) -> &[u8] {
        self.0.as_slices().0
    }

    /// Takes out what was written.
    pub(super) fn written(&mut self, bytes: usize) {
        self.0.drain(..bytes.min(self.0.len()));
        if self.0.is_empty() {
            self.0.shrink_to(1024);
        }
    }

    /// Whether everything was written.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
