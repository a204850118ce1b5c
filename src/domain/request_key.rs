//! What makes a request safe to send again.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha256};

use super::{Expected, QueuedId};

/// Longest key, in characters.
const MAX_CHARS: usize = 255;

/// The key that a client gave a request (`Idempotency-Key`, draft-ietf-httpapi-idempotency-key-header).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct IdempotencyKey(Box<str>);

impl IdempotencyKey {
    /// The key's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for IdempotencyKey {
    type Err = Expected;

    fn from_str(text: &str) -> Result<Self, Expected> {
        let fits = (1..=MAX_CHARS).contains(&text.len()) && text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
        if fits { Ok(Self(text.into())) } else { Err(Expected("1 to 255 visible ASCII characters")) }
    }
}

impl fmt::Display for IdempotencyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A request that may come again: its key, and what it asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestKey {
    /// The key.
    pub key: IdempotencyKey,
    /// A digest of all that matters of the request.
    pub digest: [u8; 32],
}

impl RequestKey {
    /// A request with `key` that asks for `parts`, in this order.
    #[must_use]
    pub fn new(key: IdempotencyKey, parts: &[&str]) -> Self {
        let mut digest = Sha256::new();
        for part in parts {
            // With its length, so that no part of one can be taken for a part of the next.
            digest.update(part.len().to_be_bytes());
            digest.update(part);
        }
        Self { key, digest: digest.finalize().into() }
    }
}

/// How a client asked for a user message; stored with it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Asked {
    /// The request, if it may come again.
    pub request: Option<RequestKey>,
    /// The entry of the queue that it was, if it had to wait.
    pub queued: Option<QueuedId>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_short_visible_text() {
        for good in ["a", "8e03978e-40d5-43dd-bc93-6894a57f9324", "\"quoted\"", &"x".repeat(255)] {
            assert_eq!(good.parse::<IdempotencyKey>().expect("fits").as_str(), good);
        }
        for wrong in ["", "\n", "ä", "\u{7f}", &"x".repeat(256)] {
            assert!(wrong.parse::<IdempotencyKey>().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn whatever_is_asked_for_otherwise_is_another_request() {
        let key = || "k".parse::<IdempotencyKey>().expect("fits");
        let request = RequestKey::new(key(), &["user", "ab"]);
        assert_eq!(request, RequestKey::new(key(), &["user", "ab"]));
        for other in [&["user", "b"][..], &["usera", "b"], &["user", "a", "b"], &["userab"]] {
            assert_ne!(request, RequestKey::new(key(), other));
        }
    }
}
