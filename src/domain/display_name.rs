//! Names for people, and characters that such texts may not have.

use std::fmt;
use std::str::FromStr;

use super::Expected;

/// Longest name, in characters.
const MAX_CHARS: usize = 200;

/// What a user calls something: 1 to 200 characters, not only blanks, none of them a control character.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DisplayName(String);

impl FromStr for DisplayName {
    type Err = Expected;

    fn from_str(text: &str) -> Result<Self, Expected> {
        if is_name(text, MAX_CHARS) {
            Ok(Self(text.to_owned()))
        } else {
            Err(Expected("1 to 200 characters, none of them a control character"))
        }
    }
}

impl From<DisplayName> for String {
    fn from(name: DisplayName) -> Self {
        name.0
    }
}

impl fmt::Display for DisplayName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether a text can be a name of at most `max` characters.
pub(super) fn is_name(text: &str, max: usize) -> bool {
    (1..=max).contains(&text.chars().count()) && !text.trim().is_empty() && !text.chars().any(is_control)
}

/// Whether a character acts on what surrounds it instead of being shown: control characters (which end lines, move a terminal's
/// cursor or end a text), line and paragraph separators, and those that change the direction of writing, by which a text can be made
/// to read as another.
#[must_use]
pub const fn is_control(character: char) -> bool {
    matches!(character, '\u{0}'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_of_bounded_length_and_print_on_one_line() {
        for name in ["x", "fix the tests", " a ", "Ünïcødé 名前 🚀", &"é".repeat(200)] {
            assert!(name.parse::<DisplayName>().is_ok(), "{name:?}");
        }
        for wrong in ["", "  ", "a\0b", "a\nb", "a\u{1b}[31mb", "a\u{85}b", "a\u{202e}b", "a\u{2028}b", &"x".repeat(201)] {
            assert!(wrong.parse::<DisplayName>().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn every_control_character_of_unicode_is_one() {
        assert!((0..=0x10_ffff).filter_map(char::from_u32).filter(|c| c.is_control()).all(is_control));
    }
}
