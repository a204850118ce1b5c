//! Rows that scrolled off a screen, as text: the newest, up to a bound.

/// Rows that are kept.
const MOST_ROWS: usize = 10_000;
/// Bytes that are kept: as many rows of a common length.
const MOST_BYTES: usize = 512 * 1024;
/// Of each, the part by which more may be kept, so that the oldest rows go many at a time.
const SLACK: usize = 4;

/// A place between two rows, also if those before it are gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark(u64);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Scrollback {
    /// Rows, each with a line feed behind it.
    text: String,
    rows: usize,
    /// Bytes before them that were let go.
    gone: u64,
}

impl Scrollback {
    /// Rows, each with a line feed behind it.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Appends a row, which `write` writes.
    pub(super) fn push(&mut self, write: impl FnOnce(&mut String)) {
        write(&mut self.text);
        self.text.push('\n');
        self.rows += 1;
        if self.rows > MOST_ROWS + MOST_ROWS / SLACK || self.text.len() > MOST_BYTES + MOST_BYTES / SLACK {
            self.drop_surplus();
        }
    }

    /// The place behind the last row.
    pub(super) fn end(&self) -> Mark {
        Mark(self.gone + self.text.len() as u64)
    }

    /// Lets go of the rows before `mark`.
    pub(super) fn forget_before(&mut self, mark: Mark) {
        let bytes = usize::try_from(mark.0.saturating_sub(self.gone)).unwrap_or(usize::MAX);
        self.drop_first(bytes.min(self.text.len()));
    }

    /// Lets go of all rows.
    pub(super) fn clear(&mut self) {
        self.drop_first(self.text.len());
    }

    fn drop_surplus(&mut self) {
        let (rows, bytes) = (self.rows.saturating_sub(MOST_ROWS), self.text.len().saturating_sub(MOST_BYTES));
        let ends = self.text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
        let enough = ends.zip(1..).find(|(end, row)| *end >= bytes && *row >= rows);
        self.drop_first(enough.map_or(self.text.len(), |(end, _)| end));
    }

    fn drop_first(&mut self, bytes: usize) {
        self.gone += bytes as u64;
        self.rows -= self.text.drain(..bytes).filter(|&character| character == '\n').count();
        if self.text.is_empty() {
            self.text = String::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(scrollback: &mut Scrollback, row: &str) {
        scrollback.push(|text| text.push_str(row));
    }

    #[test]
    fn rows_are_kept_up_to_a_bound_and_dropped_whole() {
        for padding in ["", &"=".repeat(500)] {
            let mut scrollback = Scrollback::default();
            for row in 0..30_000 {
                push(&mut scrollback, &format!("row {row}{padding}"));
                let (rows, bytes) = (scrollback.rows, scrollback.text().len());
                assert!(rows <= MOST_ROWS + MOST_ROWS / SLACK && bytes <= MOST_BYTES + MOST_BYTES / SLACK);
            }
            let text = scrollback.text();
            assert_eq!(scrollback.rows, text.lines().count());
            assert!(scrollback.rows >= MOST_ROWS || text.len() >= MOST_BYTES - 1000);
            assert!(text.starts_with("row ") && text.ends_with(&format!("\nrow 29999{padding}\n")));
        }
    }

    #[test]
    fn what_is_before_a_mark_is_forgotten_also_if_it_is_gone_already() {
        let mut scrollback = Scrollback::default();
        push(&mut scrollback, "old");
        let mark = scrollback.end();
        push(&mut scrollback, "new");
        scrollback.forget_before(mark);
        assert_eq!(scrollback.text(), "new\n");
        scrollback.clear();
        push(&mut scrollback, "newer");
        scrollback.forget_before(mark);
        assert_eq!(scrollback.text(), "newer\n");
    }
}
