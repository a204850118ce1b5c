//! The screen as text.

use alacritty_terminal::grid::Dimensions;
use alacritty_terminal::index::{Column, Line};
use alacritty_terminal::term::Term;
use alacritty_terminal::term::cell::Flags;

/// Combining marks kept with one character; a flag or a family of emoji has fewer.
const MAX_MARKS: usize = 16;

/// The rows without trailing blanks, joined by line feeds, without blank rows at the end.
///
/// A wide character is one character here, not one and a blank. Cells that gathered an absurd number of combining marks lose them,
/// so that a program cannot make the grid grow without bound.
pub(super) fn read<T>(term: &mut Term<T>) -> String {
    let (rows, columns) = (term.screen_lines(), term.columns());
    let mut text = String::with_capacity(rows + columns);
    let mut overloaded = Vec::new();
    let mut end_of_text = 0;
    for line in (0..).map(Line).take(rows) {
        let row = &term.grid()[line];
        let mut end = text.len();
        for column in (0..columns).map(Column) {
            let cell = &row[column];
            if cell.flags.intersects(Flags::WIDE_CHAR_SPACER | Flags::LEADING_WIDE_CHAR_SPACER) {
                continue;
            }
            text.push(if cell.c == '\t' { ' ' } else { cell.c });
            let marks = cell.zerowidth().unwrap_or_default();
            if marks.len() <= MAX_MARKS {
                text.extend(marks);
            } else {
                overloaded.push((line, column));
            }
            if !text.ends_with(' ') {
                end = text.len();
                end_of_text = end;
            }
        }
        text.truncate(end);
        text.push('\n');
    }
    text.truncate(end_of_text);
    for (line, column) in overloaded {
        term.grid_mut()[line][column].extra = None;
    }
    text
}
