//! The alternate screen, which full-screen programs switch to. It needs as much memory as the screen itself and most programs never
//! show it, so it is made when one first does.

use alacritty_terminal::event::EventListener;
use alacritty_terminal::grid::{Dimensions, Grid};
use alacritty_terminal::term::{Term, TermMode};
use alacritty_terminal::vte::ansi::{NamedPrivateMode, PrivateMode};

/// Whether a terminal has an alternate screen.
pub(super) struct Alternate {
    is_made: bool,
}

impl Alternate {
    /// Leaves `term`, which is new, no more than a row of it.
    pub(super) fn put_away<T: EventListener>(term: &mut Term<T>) -> Self {
        replace(term, 1);
        Self { is_made: false }
    }

    /// Makes it if `mode`, which is about to be set, shows it. The emulator knows no other mode that does.
    pub(super) fn before<T: EventListener>(&mut self, mode: PrivateMode, term: &mut Term<T>) {
        if !self.is_made && mode == PrivateMode::Named(NamedPrivateMode::SwapScreenAndSetRestoreCursor) {
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
            replace(term, 1);
        }
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
