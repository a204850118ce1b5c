//! Signatures (Ed25519, RFC 8032) by which servers of a deployment know each other's requests.
//!
//! A key pair is made at a server's start, and its private half never leaves the process. So whoever has `TOKEN_ENCRYPTION_KEY`, or reads
//! Postgres, cannot sign in a server's name.

use std::fmt;

use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};

use super::random_bytes;

/// Length of a signature.
pub const SIGNATURE_BYTES: usize = 64;

/// A private key, with its public half.
pub struct SigningKey(Ed25519KeyPair);

/// The public half of a [`SigningKey`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublicKey([u8; Self::BYTES]);

impl SigningKey {
    /// Generates a key pair.
    ///
    /// # Panics
    /// If the operating system has no randomness to give.
    #[must_use]
    pub fn generate() -> Self {
        let seed = random_bytes::<32>();
        Self(Ed25519KeyPair::from_seed_unchecked(&seed).expect("every 32 bytes are the seed of a key"))
    }

    /// Returns the public half.
    ///
    /// # Panics
    /// Never: a public key of Ed25519 has 32 bytes.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.public_key().as_ref().try_into().expect("a public key has 32 bytes"))
    }

    /// Returns the signature of `text`.
    ///
    /// # Panics
    /// Never: a signature of Ed25519 has 64 bytes.
    #[must_use]
    pub fn sign(&self, text: &[u8]) -> [u8; SIGNATURE_BYTES] {
        self.0.sign(text).as_ref().try_into().expect("a signature has 64 bytes")
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey(********)")
    }
}

impl PublicKey {
    const BYTES: usize = 32;

    /// Takes a key as it was stored.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// The key as it is stored.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; Self::BYTES] {
        &self.0
    }

    /// Whether `signature` is that of `text` by this key's private half.
    #[must_use]
    pub fn verifies(&self, text: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, self.0).verify(text, signature).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signature_verifies_for_its_text_and_key_only() {
        let (key, other) = (SigningKey::generate(), SigningKey::generate());
        let signature = key.sign(b"text");
        let public = PublicKey::from_bytes(key.public().as_bytes()).expect("32 bytes");
        assert!(public.verifies(b"text", &signature));
        assert!(!public.verifies(b"texts", &signature), "another text");
        assert!(!other.public().verifies(b"text", &signature), "another key");
        assert!(!public.verifies(b"text", &signature[1..]), "another length");
        for bit in 0..SIGNATURE_BYTES * 8 {
            let mut flipped = signature;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(!public.verifies(b"text", &flipped), "bit {bit}");
        }
    }

    #[test]
    fn private_key_is_not_shown() {
        assert_eq!(format!("{:?}", SigningKey::generate()), "SigningKey(********)");
    }
}
