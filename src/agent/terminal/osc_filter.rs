//! Keeps operating system commands (OSC) that are of no use here, or too long, away from the emulator: it would gather them
//! without bound, and keep a hyperlink with every cell.

/// Bytes of one command, without its terminator. A title or a colour is far shorter.
const MAX_COMMAND: usize = 1024;

const BEL: u8 = 0x07;
const CANCEL: u8 = 0x18;
const SUBSTITUTE: u8 = 0x1a;
const ESCAPE: u8 = 0x1b;

/// A pass over a program's output that lets everything through but those commands.
#[derive(Default)]
pub(super) struct OscFilter {
    state: State,
    command: Vec<u8>,
}

#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Text and other escape sequences.
    #[default]
    Ground,
    /// Behind an escape that may begin a command, held back until it is known.
    Escape,
    /// Within a command.
    Command,
}

impl OscFilter {
    /// Hands what is let through of `bytes` to `emulator`, in order, in one or more pieces.
    pub(super) fn pass(&mut self, bytes: &[u8], mut emulator: impl FnMut(&[u8])) {
        let mut from = 0;
        for (at, &byte) in bytes.iter().enumerate() {
            match (self.state, byte) {
                (State::Ground, ESCAPE) => {
                    emulator(&bytes[from..at]);
                    self.state = State::Escape;
                }
                (State::Ground, _) => continue,
                (State::Escape, b']') => self.state = State::Command,
                (State::Escape, ESCAPE) => emulator(&[ESCAPE]),
                (State::Escape, _) => {
                    emulator(&[ESCAPE]);
                    self.state = State::Ground;
                    from = at;
                    continue;
                }
                (State::Command, BEL | CANCEL | SUBSTITUTE | ESCAPE) => self.finish(byte, &mut emulator),
                (State::Command, _) if self.command.len() <= MAX_COMMAND => self.command.push(byte),
                (State::Command, _) => {}
            }
            from = at + 1;
        }
        if self.state == State::Ground {
            emulator(&bytes[from..]);
        }
    }

    /// Bytes held back.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.command.len()
    }

    /// Passes on a complete command if it is wanted.
    fn finish(&mut self, end: u8, emulator: &mut impl FnMut(&[u8])) {
        if matches!(end, BEL | ESCAPE) && self.command.len() <= MAX_COMMAND && is_wanted(&self.command) {
            emulator(b"\x1b]");
            emulator(&self.command);
            emulator(if end == BEL { b"\x07" } else { b"" });
        }
        self.command.clear();
        self.state = if end == ESCAPE { State::Escape } else { State::Ground };
    }
}

/// Titles and colours.
fn is_wanted(command: &[u8]) -> bool {
    let number = command.split(|&byte| byte == b';').next().unwrap_or_default();
    matches!(number, b"0" | b"1" | b"2" | b"4" | b"10" | b"11" | b"12" | b"104" | b"110" | b"111" | b"112")
}
