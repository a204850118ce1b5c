//! This terminal, while it shows an agent's.

use std::io::{self, IsTerminal, Write};

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};

use crate::cli::Failure;

/// Alternate screen, no wrapping of rows that are too wide.
const ENTER: &str = "\x1b[?1049h\x1b[?7l";
const LEAVE: &str = "\x1b[?7h\x1b[?1049l";
/// Rows of a terminal that does not say.
const ROWS: usize = 24;

/// The terminal, in raw mode and with another screen; as it was before once dropped.
pub(super) struct Terminal {
    before: Termios,
}

impl Terminal {
    /// Takes the terminal.
    pub(super) fn take() -> Result<Self, Failure> {
        if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
            return Err("attach needs a terminal: standard input or output is none".into());
        }
        let before = tcgetattr(io::stdin())?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(io::stdin(), OptionalActions::Now, &raw)?;
        let terminal = Self { before };
        write(ENTER)?;
        Ok(terminal)
    }

    /// Shows the end of a screen, as many rows as there is room for.
    #[expect(clippy::unused_self, reason = "only who has taken the terminal may write to it")]
    pub(super) fn show(&self, screen: &str) -> io::Result<()> {
        let rows = tcgetwinsize(io::stdout()).map_or(0, |size| usize::from(size.ws_row));
        write(&frame(screen, if rows == 0 { ROWS } else { rows }))
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let left = write(LEAVE).is_ok() & tcsetattr(io::stdin(), OptionalActions::Now, &self.before).is_ok();
        if !left {
            eprintln!("agentapi: the terminal could not be put back; `reset` does it");
        }
    }
}

/// What draws a screen into so many rows.
fn frame(screen: &str, rows: usize) -> String {
    let lines: Vec<&str> = screen.trim_end().split('\n').collect();
    let shown = &lines[lines.len().saturating_sub(rows)..];
    // What stands for a command here would be one of the server's.
    let plain: Vec<String> = shown.iter().map(|line| line.chars().filter(|c| !c.is_control()).collect()).collect();
    format!("\x1b[H{}\x1b[K\x1b[J", plain.join("\x1b[K\r\n"))
}

fn write(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::frame;

    #[test]
    fn the_last_rows_are_shown_and_nothing_in_them_is_a_command() {
        assert_eq!(frame("a\nb\nc\n\n", 2), "\x1b[Hb\x1b[K\r\nc\x1b[K\x1b[J");
        assert_eq!(frame("x\x1b]0;evil\x07\u{9b}31m", 5), "\x1b[Hx]0;evil31m\x1b[K\x1b[J");
        assert_eq!(frame("", 5), "\x1b[H\x1b[K\x1b[J");
    }
}
