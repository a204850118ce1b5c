//! Blank lines.

/// `text` without blank lines at its beginning and end; `None` if every line is blank.
pub(super) fn trim_blank(text: &str) -> Option<&str> {
    let mut kept: Option<(usize, usize)> = None;
    let mut start = 0;
    for line in text.split('\n') {
        let end = start + line.len();
        if !line.trim().is_empty() {
            kept = Some((kept.map_or(start, |(first, _)| first), end));
        }
        start = end + 1;
    }
    kept.map(|(first, last)| &text[first..last])
}

/// More blank lines than these are not text: a full-screen program writes at the top and at the bottom of a high terminal.
const GAP: usize = 20;

/// `text` with one blank line in place of each gap.
pub(super) fn close_gaps(text: &str) -> String {
    let mut kept = Vec::new();
    let mut blank = 0;
    for line in text.split('\n') {
        blank = if line.trim().is_empty() { blank + 1 } else { 0 };
        if blank <= GAP {
            kept.push(line);
        } else if blank == GAP + 1 {
            kept.truncate(kept.len() - GAP + 1);
        }
    }
    kept.join("\n")
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
