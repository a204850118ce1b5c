//! API keys: what machines show in place of a session's token.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::display_name::is_name;
use super::{ApiKeyId, Email, Expected, UserId};

/// Bytes of a digest.
const DIGEST_BYTES: usize = 32;

/// An API key as it is shown: all but its secret, which nobody has but who was told it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// Its id.
    pub id: ApiKeyId,
    /// Whose it is, and as whom it acts.
    pub user: UserId,
    /// That user's address.
    pub email: Email,
    /// What its user calls it.
    pub name: ApiKeyName,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it ends, if it does.
    pub expires_at: Option<DateTime<Utc>>,
    /// When it was last used, to some minutes; nothing if it never was.
    pub last_used_at: Option<DateTime<Utc>>,
}

/// What a user calls a key: 1 to 100 characters, none of them a control character.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKeyName(String);

impl ApiKeyName {
    /// The name's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ApiKeyName {
    type Err = Expected;

    fn from_str(text: &str) -> Result<Self, Expected> {
        let text = text.trim();
        if is_name(text, 100) {
            Ok(Self(text.to_owned()))
        } else {
            Err(Expected("1 to 100 characters, none of them a control character"))
        }
    }
}

/// The SHA-256 of a key's secret, which is 32 random bytes. Compared in constant time.
#[derive(Clone, Copy, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SecretDigest([u8; DIGEST_BYTES]);

impl SecretDigest {
    /// The digest of a secret.
    #[must_use]
    pub fn of(secret: &[u8]) -> Self {
        Self(Sha256::digest(secret).into())
    }

    /// Takes a digest as it was stored.
    ///
    /// # Errors
    /// If it is none by its length.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Expected> {
        bytes.try_into().map(Self).map_err(|_| Expected("32 bytes"))
    }

    /// The digest as it is stored.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; DIGEST_BYTES] {
        &self.0
    }
}

impl PartialEq for SecretDigest {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl fmt::Debug for SecretDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretDigest(********)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_of_bounded_length_and_print_on_one_line() {
        assert_eq!("  nightly build ".parse().map(|name: ApiKeyName| name.0), Ok("nightly build".to_owned()));
        assert!("é".repeat(100).parse::<ApiKeyName>().is_ok());
        for wrong in ["", "  ", "two\nlines", "a\u{202e}b", &"x".repeat(101)] {
            assert!(wrong.parse::<ApiKeyName>().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_digest_equals_that_of_the_same_secret_only_and_is_not_shown() {
        let digest = SecretDigest::of(b"one");
        assert_eq!(SecretDigest::from_bytes(digest.as_bytes()), Ok(digest));
        assert_ne!(digest, SecretDigest::of(b"two"));
        assert!(SecretDigest::from_bytes(&[0; 31]).is_err());
        assert_eq!(format!("{digest:?}"), "SecretDigest(********)");
    }
}
