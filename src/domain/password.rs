//! Passwords, stored as argon2id hashes (RFC 9106) with the crate's default cost, which is OWASP's: 19 MiB, 2 passes.

use argon2::password_hash::{PasswordHasher, PasswordVerifier, SaltString};
use argon2::{Argon2, PasswordHash as Phc};
use secrecy::{ExposeSecret, SecretString};

use super::random_bytes;

/// A password's argon2id hash in PHC string format.
#[derive(Clone)]
pub struct PasswordHash(String);

/// Why a password cannot be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected a password of {} to {} bytes", PasswordHash::MIN_BYTES, PasswordHash::MAX_BYTES)]
pub struct PasswordRejected;

impl PasswordHash {
    /// Shortest password taken, by NIST SP 800-63B.
    pub const MIN_BYTES: usize = 8;
    /// Longest password taken, so that hashing has a bound.
    pub const MAX_BYTES: usize = 1024;

    /// Whether `password` is neither too short nor too long.
    #[must_use]
    pub fn takes(password: &SecretString) -> bool {
        (Self::MIN_BYTES..=Self::MAX_BYTES).contains(&password.expose_secret().len())
    }

    /// Hashes a new password. Takes tens of milliseconds of one core.
    ///
    /// # Errors
    /// [`PasswordRejected`] if it is too short or too long.
    pub fn of(password: &SecretString) -> Result<Self, PasswordRejected> {
        if !Self::takes(password) {
            return Err(PasswordRejected);
        }
        let salt = SaltString::encode_b64(&random_bytes::<16>()).map_err(|_| PasswordRejected)?;
        let hash = Argon2::default().hash_password(password.expose_secret().as_bytes(), &salt).map_err(|_| PasswordRejected)?;
        Ok(Self(hash.to_string()))
    }

    /// A hash that no password matches, to spend the same time on unknown users.
    #[must_use]
    pub fn of_nobody() -> Self {
        // The argon2id hash of random bytes that nobody kept, with the default cost.
        Self("$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$J9vG5fkQmqkdRYI2kHBtVNn7gpBYVcLxM4ZfqT1mUzE".to_owned())
    }

    /// Takes a hash as it was stored.
    #[must_use]
    pub const fn from_phc(text: String) -> Self {
        Self(text)
    }

    /// The hash as it is stored.
    #[must_use]
    pub fn as_phc(&self) -> &str {
        &self.0
    }

    /// Whether `password` is the hashed one. Takes as long as [`PasswordHash::of`]; compares in constant time.
    #[must_use]
    pub fn verify(&self, password: &SecretString) -> bool {
        let bytes = password.expose_secret().as_bytes();
        bytes.len() <= Self::MAX_BYTES
            && Phc::new(&self.0).is_ok_and(|hash| Argon2::default().verify_password(bytes, &hash).is_ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_hashed_password_verifies() {
        let hash = PasswordHash::of(&"correct horse".into()).expect("long enough");
        assert!(hash.verify(&"correct horse".into()));
        assert!(!hash.verify(&"correct horsf".into()));
        assert!(hash.as_phc().starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
    }

    #[test]
    fn bounds_are_kept() {
        assert!(PasswordHash::of(&"short".into()).is_err());
        assert!(PasswordHash::of(&"x".repeat(1025).into()).is_err());
    }

    #[test]
    fn nobodys_hash_costs_the_same_and_matches_nothing() {
        let nobody = PasswordHash::of_nobody();
        let somebody = PasswordHash::of(&"correct horse".into()).expect("long enough");
        let cost = |hash: &PasswordHash| Phc::new(hash.as_phc()).expect("parses").params.to_string();
        assert_eq!(cost(&nobody), cost(&somebody));
        assert!(!nobody.verify(&"correct horse".into()));
    }
}
