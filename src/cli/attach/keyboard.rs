//! What is typed here.

use std::io::Read;
use std::thread;

use tokio::sync::{mpsc, oneshot};

/// Read at once: more than fingers type, less than an agent takes.
const PIECE: usize = 4096;
const CTRL_C: &[u8] = b"\x03";

/// Something that was typed.
#[derive(Debug, PartialEq, Eq)]
enum Key {
    /// For the agent.
    Typed(String),
    /// Ctrl-C by itself.
    Detach,
}

/// Reads the keyboard from now on, until it is to detach, which is told apart from what waits to be sent, nobody listens, or there is
/// no keyboard any more.
pub(super) fn read(keys: mpsc::Sender<String>, detach: oneshot::Sender<()>) -> std::io::Result<()> {
    // A thread of our own: the runtime would wait for one of its own, and so for a key, at the end.
    thread::Builder::new().name("keyboard".to_owned()).spawn(move || {
        let (mut stdin, mut piece, mut pieces) = (std::io::stdin().lock(), [0; PIECE], Pieces::default());
        while let Ok(read @ 1..) = stdin.read(&mut piece) {
            let Some(key) = pieces.take(&piece[..read]) else { continue };
            let Key::Typed(text) = key else { break };
            if keys.blocking_send(text).is_err() {
                return;
            }
        }
        let _nobody_listens = detach.send(());
    })?;
    Ok(())
}

/// Puts together characters that come in two pieces.
#[derive(Default)]
struct Pieces {
    begun: Vec<u8>,
}

impl Pieces {
    fn take(&mut self, piece: &[u8]) -> Option<Key> {
        if piece == CTRL_C {
            return Some(Key::Detach);
        }
        self.begun.extend(piece);
        let whole = match std::str::from_utf8(&self.begun) {
            // A character has begun and may go on.
            Err(error) if error.error_len().is_none() => error.valid_up_to(),
            _ => self.begun.len(),
        };
        let bytes: Vec<u8> = self.begun.drain(..whole).collect();
        (!bytes.is_empty()).then(|| Key::Typed(String::from_utf8_lossy(&bytes).into_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::{Key, Pieces};

    #[test]
    fn characters_in_pieces_are_put_together_and_only_ctrl_c_alone_detaches() {
        let mut pieces = Pieces::default();
        let typed = |text: &str| Some(Key::Typed(text.to_owned()));
        assert_eq!(pieces.take(b"a\x1b[A"), typed("a\x1b[A"));
        assert_eq!(pieces.take(&"é".as_bytes()[..1]), None);
        assert_eq!(pieces.take(&"é".as_bytes()[1..]), typed("é"));
        assert_eq!(pieces.take(b"x\x03"), typed("x\x03"));
        assert_eq!(pieces.take(b"\xff!"), typed("\u{fffd}!"));
        assert_eq!(pieces.take(b"\x03"), Some(Key::Detach));
    }
}
