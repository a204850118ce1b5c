//! The screen as text.

use alacritty_terminal::grid::{Dimensions, Row};
use alacritty_terminal::index::{Column, Line};
use alacritty_terminal::term::Term;
use alacritty_terminal::term::cell::{Cell, Flags};

/// Combining marks kept with one character; a flag or a family of emoji has fewer.
const MAX_MARKS: usize = 16;

/// The rows without trailing blanks, joined by line feeds, without blank rows at the end.
///
/// Cells that gathered an absurd number of combining marks lose them, so that a program cannot make the grid grow without bound.
pub(super) fn read<T>(term: &mut Term<T>) -> String {
    let (rows, columns) = (term.screen_lines(), term.columns());
    let mut text = String::with_capacity(rows + columns);
    let mut end_of_text = 0;
    for line in (0..).map(Line).take(rows) {
        let start = text.len();
        if push_row(&term.grid()[line], &mut text) == Marks::TooMany {
            let row = &mut term.grid_mut()[line];
            row.into_iter().filter(|cell| has_too_many_marks(cell)).for_each(|cell| cell.extra = None);
        }
        if text.len() > start {
            end_of_text = text.len();
        }
        text.push('\n');
    }
    text.truncate(end_of_text);
    text
}

/// Whether a row has characters with an absurd number of combining marks, which are left out of its text.
#[derive(PartialEq, Eq)]
pub(super) enum Marks {
    Few,
    TooMany,
}

/// Appends a row to `text`, without trailing blanks. A wide character is one character here, not one and a blank.
pub(super) fn push_row(row: &Row<Cell>, text: &mut String) -> Marks {
    let mut marks = Marks::Few;
    let cells = &row[Column(0)..Column(row.len())];
    let filled = cells.iter().rposition(|cell| cell.c != ' ' || cell.extra.is_some()).map_or(0, |last| last + 1);
    let mut end = text.len();
    for cell in &cells[..filled] {
        if cell.flags.intersects(Flags::WIDE_CHAR_SPACER | Flags::LEADING_WIDE_CHAR_SPACER) {
            continue;
        }
        text.push(if cell.c == '\t' { ' ' } else { cell.c });
        if has_too_many_marks(cell) {
            marks = Marks::TooMany;
        } else {
            text.extend(cell.zerowidth().unwrap_or_default());
        }
        if !text.ends_with(' ') {
            end = text.len();
        }
    }
    text.truncate(end);
    marks
}

fn has_too_many_marks(cell: &Cell) -> bool {
    cell.zerowidth().is_some_and(|marks| marks.len() > MAX_MARKS)
}
