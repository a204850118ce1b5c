//! The alternate screen, which full-screen programs switch to. It needs as much memory as the screen itself and most programs never
//! show it, so it is made when one first asks for it.

use alacritty_terminal::event::EventListener;
use alacritty_terminal::grid::{Dimensions, Grid};
use alacritty_terminal::term::{Term, TermMode};

/// The private mode that switches to it: xterm's 1049, the only one of those for it that the emulator knows.
const MODE: u32 = 1049;

const ESCAPE: u8 = 0x1b;

/// Looks out for a program that asks for the alternate screen.
#[derive(Default)]
pub(super) struct Alternate {
    is_made: bool,
    state: State,
}

#[derive(Default, Clone, Copy)]
enum State {
    #[default]
    Text,
    Escape,
    /// Within a control sequence, at a parameter with this value so far.
    Sequence {
        number: u32,
        has_mode: bool,
    },
}

impl Alternate {
    /// Leaves `term`, which is new and does not show it, no more than a row of it.
    pub(super) fn put_away<T: EventListener>(term: &mut Term<T>) {
        replace(term, 1);
    }

    /// Makes it if `piece`, the next of the program's output, may ask for it. An escape is the first byte of a piece, if any.
    pub(super) fn before<T: EventListener>(&mut self, piece: &[u8], term: &mut Term<T>) {
        if !self.is_made && self.is_asked_for(piece) {
            self.make(term);
        }
    }

    pub(super) fn make<T: EventListener>(&mut self, term: &mut Term<T>) {
        replace(term, term.screen_lines());
        self.is_made = true;
    }

    /// `term` was given another size, and with it all of its alternate screen.
    pub(super) fn resized<T: EventListener>(&self, term: &mut Term<T>) {
        if !self.is_made {
            Self::put_away(term);
        }
    }

    /// Whether a sequence that may set the mode ends in `piece`; one that does not may be taken for one that does.
    fn is_asked_for(&mut self, piece: &[u8]) -> bool {
        for &byte in piece {
            self.state = match (self.state, byte) {
                (_, ESCAPE) => State::Escape,
                (State::Text, _) => return false,
                (State::Escape, b'[') => State::Sequence { number: 0, has_mode: false },
                (State::Sequence { number, has_mode }, b'0'..=b'9') => {
                    State::Sequence { number: number.saturating_mul(10).saturating_add(u32::from(byte - b'0')), has_mode }
                }
                (State::Sequence { number, has_mode }, b';' | b':') => {
                    State::Sequence { number: 0, has_mode: has_mode || number == MODE }
                }
                (State::Sequence { number, has_mode }, b'h') if has_mode || number == MODE => {
                    self.state = State::Text;
                    return true;
                }
                // Cancelled, over, or another.
                (_, 0x18 | 0x1a) | (State::Escape, 0x20..) | (State::Sequence { .. }, 0x40..=0x7e) => State::Text,
                // Acted upon at once, or of no meaning; the sequence goes on.
                (state, _) => state,
            };
        }
        false
    }
}

/// Gives `term` a blank alternate screen of so many rows. It does not show it.
fn replace<T: EventListener>(term: &mut Term<T>, rows: usize) {
    debug_assert!(!term.mode().contains(TermMode::ALT_SCREEN), "it is made before it is shown");
    // To switch is the only way to it; what that changes besides is put back.
    let saved = term.grid().saved_cursor.clone();
    term.swap_alt();
    *term.grid_mut() = Grid::new(rows, term.columns(), 0);
    term.swap_alt();
    term.grid_mut().saved_cursor = saved;
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether it was asked for in one of these pieces.
    fn asked(pieces: &[&[u8]]) -> bool {
        let mut alternate = Alternate::default();
        pieces.iter().any(|piece| alternate.is_asked_for(piece))
    }

    #[test]
    fn it_is_asked_for_in_many_ways() {
        assert!(asked(&[b"\x1b", b"[?1049h"]));
        assert!(asked(&[b"\x1b", b"[?25;1049h and text"]));
        assert!(asked(&[b"\x1b", b"[?1049;25h"]));
        assert!(asked(&[b"\x1b", b"[?10", b"4", b"9", b"h"]));
        assert!(asked(&[b"\x1b", b"[?01\r\n0\x7f49h"]));
        assert!(asked(&[b"text", b"\x1b", b"\x1b", b"[?1049h"]));
    }

    #[test]
    fn nothing_else_asks_for_it() {
        assert!(!asked(&[b"[?1049h"]));
        assert!(!asked(&[b"\x1b", b"[?1049l", b"\x1b", b"[?25h", b"\x1b", b"[?2004h"]));
        assert!(!asked(&[b"\x1b", b"[?1049", b"\x1b", b"[?25h"]));
        assert!(!asked(&[b"\x1b", b"[?1049\x1ah"]));
        assert!(!asked(&[b"\x1b", b"]0;[?1049h\x07"]));
        assert!(!asked(&[b"\x1b", b"[?4294968345h"]));
    }
}
