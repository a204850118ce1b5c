//! What a new password must be, by NIST SP 800-63B: long, and not what an attacker tries first. What is common is not counted as strong
//! for a digit or a symbol in it, and nothing of the kind is asked for.

use unicode_normalization::UnicodeNormalization;

use super::PasswordHash;
use crate::domain::{Email, Slug};

/// Common passwords of [`PasswordRules::LEAST_MIN_CHARS`] characters and more, a line each, in lower case: see `COMMON.md`.
const COMMON: &str = include_str!("common.txt");

/// Different characters that a password must have: fewer are a repetition.
const MIN_DIFFERENT: usize = 5;

/// Shortest word that is looked for in a password: shorter ones are in it by chance.
const MIN_WORD_CHARS: usize = 3;

/// What a password for a new or changed log-in must be.
#[derive(Debug, Clone)]
pub struct PasswordRules {
    min_chars: usize,
    /// Words that say something about whose it is, in lower case, the longest first.
    words: Vec<String>,
}

/// Why a password cannot be taken. Says nothing of the password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PasswordRejected {
    /// It is too short.
    #[error("expected a password of at least {0} characters")]
    Short(usize),
    /// It is too long.
    #[error("expected a password of at most {} bytes", PasswordHash::MAX_BYTES)]
    Long,
    /// It repeats a few characters.
    #[error("expected a password of more than a few different characters")]
    Repetition,
    /// It is a part of the alphabet, or counts.
    #[error("expected a password that is not a sequence, such as 123456 or abcdef")]
    Sequence,
    /// Attackers try it first.
    #[error("expected a password that is not a common password, also not with digits or symbols around it or twice in a row")]
    Common,
    /// It is little more than what is known of its user.
    #[error("expected a password that is more than the name of the tenant, the user or agentapi")]
    Name,
    /// It could not be hashed.
    #[error("the password could not be hashed")]
    Unhashable,
}

impl PasswordRules {
    /// Shortest password by default, where it is the only thing that is asked for at log-in.
    pub const DEFAULT_MIN_CHARS: usize = 12;
    /// The least that may be set as the shortest password.
    pub const LEAST_MIN_CHARS: usize = 8;

    /// Asks for passwords of at least `min_chars` characters.
    #[must_use]
    pub fn new(min_chars: usize) -> Self {
        Self { min_chars, words: vec!["agentapi".to_owned()] }
    }

    /// The same for a user, whose password is more than its address and its tenant's names.
    #[must_use]
    pub fn of_user(mut self, slug: &Slug, tenant_name: &str, email: &Email) -> Self {
        let local = email.as_str().rsplit_once('@').map_or(email.as_str(), |(local, _)| local);
        for text in [slug.as_str(), tenant_name, email.as_str(), local] {
            let text = normalised(text).to_lowercase();
            let parts = text.split(|character: char| !character.is_alphanumeric());
            self.words
                .extend(parts.chain([text.as_str()]).filter(|word| word.chars().count() >= MIN_WORD_CHARS).map(str::to_owned));
        }
        self.words.sort_unstable_by(|one, other| (other.len(), other).cmp(&(one.len(), one)));
        self.words.dedup();
        self
    }

    /// Checks a password, in its normalised form.
    pub(super) fn check(&self, password: &str) -> Result<(), PasswordRejected> {
        if password.chars().count() < self.min_chars {
            return Err(PasswordRejected::Short(self.min_chars));
        }
        let lower = password.to_lowercase();
        let mut different: Vec<char> = lower.chars().collect();
        different.sort_unstable();
        different.dedup();
        if different.len() < MIN_DIFFERENT {
            return Err(PasswordRejected::Repetition);
        }
        if is_sequence(&lower) {
            return Err(PasswordRejected::Sequence);
        }
        if is_common(&lower) || is_common(core(&lower)) || unit(&lower).is_some_and(is_common) {
            return Err(PasswordRejected::Common);
        }
        let rest = self.words.iter().fold(lower.clone(), |rest, word| rest.replace(word, ""));
        let is_named = rest.len() < lower.len();
        let rest = rest.trim_matches(|character: char| !character.is_alphanumeric());
        if is_named && (rest.chars().count() < Self::LEAST_MIN_CHARS || is_common(rest)) {
            return Err(PasswordRejected::Name);
        }
        Ok(())
    }
}

/// The form in which a password is hashed and its characters are counted: NFKC, so that it does not matter how a keyboard composes them.
pub(super) fn normalised(text: &str) -> String {
    text.nfkc().collect()
}

fn is_common(lower: &str) -> bool {
    COMMON.lines().any(|common| common == lower)
}

/// A text without the digits and symbols at its ends.
fn core(text: &str) -> &str {
    text.trim_matches(|character: char| !character.is_alphabetic())
}

/// The shortest text that gives this one when it is repeated, if there is one.
fn unit(text: &str) -> Option<&str> {
    let lengths = text.char_indices().map(|(index, _)| index).filter(|&length| length > 0 && text.len().is_multiple_of(length));
    lengths.map(|length| &text[..length]).find(|unit| unit.repeat(text.len() / unit.len()) == text)
}

/// Whether each character follows the one before it, up or down; after 9 comes 0.
fn is_sequence(text: &str) -> bool {
    let follows = |one: char, other: char| u32::from(one) + 1 == u32::from(other) || (one, other) == ('9', '0');
    let pairs = || text.chars().zip(text.chars().skip(1));
    pairs().all(|(one, other)| follows(one, other)) || pairs().all(|(one, other)| follows(other, one))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(min_chars: usize, password: &str) -> Result<(), PasswordRejected> {
        let (slug, email) = ("acme".parse().expect("a slug"), "ada.lovelace@acme.example".parse().expect("an address"));
        PasswordRules::new(min_chars).of_user(&slug, "The Acme Rocket Company", &email).check(&normalised(password))
    }

    #[test]
    fn passwords_that_are_long_and_unusual_are_taken() {
        for good in [
            "correct horse",
            "correct horse battery staple",
            "Tr0ub4dor&3xy",
            "пароль длинный",
            "ada rides a red rocket",
            "7f#9-K2x!8301",
            "the weather in lagos",
            "名前は何ですか教えてください",
        ] {
            assert_eq!(check(12, good), Ok(()), "{good}");
        }
        assert_eq!(check(8, "tuff8ltr"), Ok(()));
    }

    #[test]
    fn length_is_counted_in_characters_as_they_are_hashed() {
        assert_eq!(check(12, "ünïcödéööö1"), Err(PasswordRejected::Short(12)));
        // Twelve code points, of which two are one character.
        assert_eq!(check(12, "e\u{301}leven chr"), Err(PasswordRejected::Short(12)));
        assert_eq!(check(12, "ünïcödéööö12"), Ok(()));
    }

    #[test]
    fn what_attackers_try_first_is_refused() {
        for (wrong, why) in [
            ("            ", PasswordRejected::Repetition),
            ("aaaaaaaaaaaa", PasswordRejected::Repetition),
            ("abcabcabcabcabc", PasswordRejected::Repetition),
            ("123456789012", PasswordRejected::Sequence),
            ("210987654321", PasswordRejected::Sequence),
            ("abcdefghijkl", PasswordRejected::Sequence),
            ("ZYXWVUTSRQPONM", PasswordRejected::Sequence),
            ("QwertyUiop123", PasswordRejected::Common),
            ("1qaz2wsx3edc", PasswordRejected::Common),
            ("!!Password1234", PasswordRejected::Common),
            ("ｐａｓｓｗｏｒｄ１２３４", PasswordRejected::Common),
            ("passwordpassword", PasswordRejected::Common),
            ("AgentAPI-2026!", PasswordRejected::Name),
            ("acme-rocket-1", PasswordRejected::Name),
            ("lovelace.ada1", PasswordRejected::Name),
            ("ada.lovelace@acme.example", PasswordRejected::Name),
            ("password acme", PasswordRejected::Name),
        ] {
            assert_eq!(check(12, wrong), Err(why), "{wrong}");
        }
        for short in ["password", "12345678"] {
            assert!(check(8, short).is_err(), "{short}");
        }
    }

    #[test]
    fn list_is_as_it_is_looked_up() {
        for line in COMMON.lines() {
            assert!(line.chars().count() >= PasswordRules::LEAST_MIN_CHARS && normalised(line).to_lowercase() == line, "{line}");
        }
        assert!(COMMON.lines().is_sorted() && COMMON.lines().count() > 20_000);
    }
}
