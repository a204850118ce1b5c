//! What the terminal answers when a program asks it something.

use alacritty_terminal::event::{Event, WindowSize};
use alacritty_terminal::term::Term;
use alacritty_terminal::vte::ansi::{NamedColor, Rgb};

use crate::domain::TerminalSize;

/// The sixteen named colours of xterm.
const NAMED: [(u8, u8, u8); 16] = [
    (0, 0, 0),
    (205, 0, 0),
    (0, 205, 0),
    (205, 205, 0),
    (0, 0, 238),
    (205, 0, 205),
    (0, 205, 205),
    (229, 229, 229),
    (127, 127, 127),
    (255, 0, 0),
    (0, 255, 0),
    (255, 255, 0),
    (92, 92, 255),
    (255, 0, 255),
    (0, 255, 255),
    (255, 255, 255),
];
/// Brightness steps of xterm's 6 by 6 by 6 colour cube.
const CUBE: [u8; 6] = [0, 95, 135, 175, 215, 255];

/// Appends the answer to `event`, if it is a question, to `answers`.
pub(super) fn write<T>(event: &Event, term: &Term<T>, size: TerminalSize, answers: &mut Vec<u8>) {
    match event {
        Event::PtyWrite(text) => answers.extend_from_slice(text.as_bytes()),
        Event::ColorRequest(index, format) => {
            let set = (*index < alacritty_terminal::term::color::COUNT).then(|| term.colors()[*index]).flatten();
            answers.extend_from_slice(format(set.unwrap_or_else(|| default_color(*index))).as_bytes());
        }
        Event::TextAreaSizeRequest(format) => {
            // Cells of a common size, for programs that reckon in pixels.
            let window = WindowSize { num_lines: size.height(), num_cols: size.width(), cell_width: 8, cell_height: 16 };
            answers.extend_from_slice(format(window).as_bytes());
        }
        _ => {}
    }
}

/// xterm's palette; light text on a dark ground, as most terminals are.
fn default_color(index: usize) -> Rgb {
    let (r, g, b) = match u8::try_from(index) {
        Ok(named @ 0..16) => NAMED[usize::from(named)],
        Ok(cube @ 16..232) => {
            let cube = usize::from(cube - 16);
            (CUBE[cube / 36], CUBE[cube / 6 % 6], CUBE[cube % 6])
        }
        Ok(grey) => {
            let level = 8 + 10 * (grey - 232);
            (level, level, level)
        }
        Err(_) if index == NamedColor::Background as usize => (0, 0, 0),
        Err(_) => (229, 229, 229),
    };
    Rgb { r, g, b }
}
