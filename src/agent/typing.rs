//! What is typed at an agent's terminal for a user message.

/// The key that hands in what was typed.
pub(super) const RETURN: &[u8] = b"\r";
/// Ctrl-U: clears the line that is being typed, in shells, cooked terminals and the input boxes of agents.
const CLEAR_LINE: &[u8] = b"\x15";
const PASTE: (&[u8], &[u8]) = (b"\x1b[200~", b"\x1b[201~");

/// `text` without what would act as a key: every control character but line feed and tab. So a text cannot end the paste it is in.
pub(super) fn typeable(text: &str) -> String {
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    text.chars().filter(|character| !character.is_control() || matches!(character, '\n' | '\t')).collect()
}

/// The bytes that type `text`: as a marked paste for a program that asked for it, otherwise line by line.
pub(super) fn keys(text: &str, bracketed_paste: bool) -> Vec<u8> {
    let text = typeable(text);
    if bracketed_paste { [PASTE.0, text.as_bytes(), PASTE.1].concat() } else { text.replace('\n', "\r").into_bytes() }
}

/// The bytes that take back what was typed, also if the program only got the beginning of it.
pub(super) fn take_back(bracketed_paste: bool, cut: bool) -> Vec<u8> {
    let end = if bracketed_paste && cut { PASTE.1 } else { b"" };
    [end, CLEAR_LINE].concat()
}

#[cfg(test)]
mod tests {
    use super::{keys, take_back};

    #[test]
    fn a_paste_is_marked_only_if_asked_for() {
        assert_eq!(keys("a\tb\nc", true), b"\x1b[200~a\tb\nc\x1b[201~");
        assert_eq!(keys("a\tb\nc", false), b"a\tb\rc");
    }

    #[test]
    fn a_text_cannot_leave_its_paste_or_press_keys() {
        assert_eq!(keys("a\x1b[201~\x03\u{9b}201~b\x7f\r\nc\rd", true), b"\x1b[200~a[201~201~b\nc\nd\x1b[201~");
    }

    #[test]
    fn what_was_typed_can_be_taken_back() {
        assert_eq!(take_back(true, true), b"\x1b[201~\x15");
        assert_eq!(take_back(true, false), b"\x15");
    }
}
