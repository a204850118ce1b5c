//! Lines of a text.

use std::borrow::Cow;

/// `text` from the line with this number on; nothing if there are no more than so many.
pub(super) fn from_line(text: &str, line: usize) -> &str {
    match line {
        0 => text,
        line => text.match_indices('\n').nth(line - 1).map_or("", |(at, _)| &text[at + 1..]),
    }
}

/// The first so many lines of `text`.
pub(super) fn up_to(text: &str, lines: usize) -> &str {
    match lines {
        0 => "",
        lines => text.match_indices('\n').nth(lines - 1).map_or(text, |(at, _)| &text[..at]),
    }
}

/// `text` without blank lines at its beginning and end; `None` if every line is blank.
pub(super) fn trim_blank(text: &str) -> Option<&str> {
    let mut start = 0;
    for line in text.split('\n') {
        if !line.trim().is_empty() {
            return Some(without_blank_end(&text[start..]));
        }
        start += line.len() + 1;
    }
    None
}

/// `text` without blank lines at its end.
pub(super) fn without_blank_end(text: &str) -> &str {
    let mut end = text.len();
    for line in text.rsplit('\n') {
        if !line.trim().is_empty() {
            return &text[..end];
        }
        end = end.saturating_sub(line.len() + 1);
    }
    ""
}

/// More blank lines than these are not text: a full-screen program writes at the top and at the bottom of a high terminal.
const GAP: usize = 20;

/// `text` with one blank line in place of each gap.
pub(super) fn close_gaps(text: &str) -> Cow<'_, str> {
    let is_blank = |line: &str| line.trim().is_empty();
    let mut blank = 0;
    let has_gap = text.split('\n').any(|line| {
        blank = if is_blank(line) { blank + 1 } else { 0 };
        blank > GAP
    });
    if !has_gap {
        return Cow::Borrowed(text);
    }
    let mut kept = Vec::new();
    blank = 0;
    for line in text.split('\n') {
        blank = if is_blank(line) { blank + 1 } else { 0 };
        if blank <= GAP {
            kept.push(line);
        } else if blank == GAP + 1 {
            kept.truncate(kept.len() - GAP + 1);
        }
    }
    Cow::Owned(kept.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::trim_blank;

    #[test]
    fn blank_edges_go_and_inner_blank_lines_stay() {
        assert_eq!(trim_blank("  \n\n a \n\nb\n \u{a0}\n"), Some(" a \n\nb"));
        assert_eq!(trim_blank("a"), Some("a"));
        assert_eq!(trim_blank(" \n\t"), None);
        assert_eq!(trim_blank(""), None);
    }
}
