//! How long the text of one event may be.
//!
//! Clients of the AgentAPI protocol read events line by line into a buffer of fixed size, and give up on one that does not fit: at
//! 128 KiB for `/events`, at 256 KiB for the screen.

use std::borrow::Cow;

/// Largest text of a message in an event, as it is written in JSON: 128 KiB, with room for the rest of the event.
const MAX_MESSAGE: usize = 124 * 1024;
/// The same of a screen: 256 KiB, with room for the rest.
const MAX_SCREEN: usize = 252 * 1024;

/// What a shortened message begins with.
const CUT: &str = "[… the beginning is left out here; GET messages has the whole message]\n";

/// A message's text as an event tells it: whole if it fits, otherwise a note and its end, which is what changes.
pub(super) fn message(text: &str) -> Cow<'_, str> {
    match end_within(text, MAX_MESSAGE - written(CUT)) {
        end if end.len() == text.len() || text.len() <= MAX_MESSAGE && written(text) <= MAX_MESSAGE => Cow::Borrowed(text),
        end => Cow::Owned(format!("{CUT}{end}")),
    }
}

/// A screen as an event tells it: whole if it fits, otherwise its last rows.
pub(super) fn screen(text: &str) -> &str {
    end_within(text, MAX_SCREEN)
}

/// The end of `text` that takes at most `limit` bytes in JSON; it begins with a line where one begins early enough.
fn end_within(text: &str, limit: usize) -> &str {
    // The longest that a byte becomes is \u001f.
    if text.len() * 6 <= limit {
        return text;
    }
    let mut left = limit;
    let fits = |(_, character): &(usize, char)| left.checked_sub(written_char(*character)).map(|rest| left = rest).is_some();
    let from = text.char_indices().rev().take_while(fits).last().map_or(text.len(), |(at, _)| at);
    if from == 0 {
        return text;
    }
    let line = text[from..].find('\n').map_or(from, |end| from + end + 1);
    if line - from <= limit / 8 { &text[line..] } else { &text[from..] }
}

/// Bytes of `text` in JSON.
fn written(text: &str) -> usize {
    text.chars().map(written_char).sum()
}

/// Bytes of a character in JSON.
const fn written_char(character: char) -> usize {
    match character {
        '"' | '\\' | '\n' | '\r' | '\t' | '\x08' | '\x0c' => 2,
        '\0'..='\x1f' => 6,
        other => other.len_utf8(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn in_json(text: &str) -> usize {
        serde_json::to_string(text).expect("text").len() - 2
    }

    #[test]
    fn what_fits_is_told_whole_and_what_does_not_by_its_end() {
        for piece in ["a", "\"", "é", "🦀", "\x1f", "plain \"quoted\" \\ text\n"] {
            for (limit, cut) in [(MAX_MESSAGE, false), (MAX_MESSAGE + 64, true), (MAX_MESSAGE * 3, true)] {
                let text = piece.repeat(limit / in_json(piece));
                let told = message(&text);
                assert_eq!(told.len() != text.len(), cut, "{piece:?} {limit}");
                assert!(in_json(&told) <= MAX_MESSAGE, "{piece:?} {limit}: {}", in_json(&told));
                assert!(in_json(&told) >= MAX_MESSAGE * 3 / 4, "{piece:?} {limit}: {}", in_json(&told));
                let end = told.strip_prefix(CUT).unwrap_or(&told);
                assert!(text.ends_with(end) && told.starts_with(CUT) == cut, "{piece:?} {limit}");
            }
        }
    }

    #[test]
    fn a_shortened_text_begins_with_a_line() {
        let text = "0123456789\n".repeat(MAX_SCREEN);
        assert!(screen(&text).starts_with("0123456789\n"));
        assert_eq!(screen("a\nb"), "a\nb");
    }
}
