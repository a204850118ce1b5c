//! Sealing with AES-256-GCM: session tokens, session records, agents' secrets at rest.
//!
//! A key is never used as it is: each purpose has a sub-key (HKDF-SHA256, RFC 5869), so that what was sealed for one purpose
//! cannot be opened for another. What is sealed names its key, so that keys can be changed. Nonces are 96 random bits, for
//! which NIST SP 800-38D allows 2^32 seals a key.

use std::fmt;

use aes_gcm::aead::{Aead, Payload};
use aes_gcm::{Aes256Gcm, KeyInit, Nonce};
use hkdf::Hkdf;
use sha2::Sha256;

use super::random_bytes;

const NONCE_BYTES: usize = 12;
const KEY_ID_BYTES: usize = 4;

/// What something is sealed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// The token that a signed-in client shows.
    SessionToken,
    /// The record of a session, as the store keeps it.
    SessionRecord,
    /// An agent's own environment variables, as Postgres keeps them.
    AgentEnv,
}

impl Purpose {
    const ALL: [Self; 3] = [Self::SessionToken, Self::SessionRecord, Self::AgentEnv];

    const fn label(self) -> &'static str {
        match self {
            Self::SessionToken => "session token",
            Self::SessionRecord => "session record",
            Self::AgentEnv => "agent env",
        }
    }
}

/// The keys that seal and open.
#[derive(Clone)]
pub struct KeyRing {
    current: RingKey,
}

#[derive(Clone)]
struct RingKey {
    id: [u8; KEY_ID_BYTES],
    ciphers: [Aes256Gcm; Purpose::ALL.len()],
}

/// Something sealed: the id of the key it is sealed with, and `nonce ‖ ciphertext ‖ tag`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// Names the key.
    pub key_id: [u8; KEY_ID_BYTES],
    /// Nonce, ciphertext and tag.
    pub body: Vec<u8>,
}

/// What was sealed.
pub type Opened = Vec<u8>;

/// It was not sealed by us, for this purpose and context, with a key we have; which of these is not told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("cannot be opened")]
pub struct Unsealable;

impl KeyRing {
    /// A ring of one key.
    #[must_use]
    pub fn new(key: &[u8; 32]) -> Self {
        Self { current: RingKey::derive(key) }
    }

    /// Seals `plaintext` for `purpose`; it opens only with the same `context`.
    ///
    /// # Panics
    /// If `plaintext` is longer than the 64 GiB that AES-GCM takes; nothing here is.
    #[must_use]
    pub fn seal(&self, purpose: Purpose, context: &[u8], plaintext: &[u8]) -> Sealed {
        let nonce = random_bytes::<NONCE_BYTES>();
        let payload = Payload { msg: plaintext, aad: context };
        let ciphertext = self.current.cipher(purpose).encrypt(&Nonce::from(nonce), payload).expect("plaintext is below 64 GiB");
        Sealed { key_id: self.current.id, body: [&nonce, ciphertext.as_slice()].concat() }
    }

    /// Opens what was sealed for `purpose` with `context`. The key is chosen by its id alone, never by trying.
    ///
    /// # Errors
    /// [`Unsealable`], whatever is wrong.
    pub fn open(&self, purpose: Purpose, context: &[u8], sealed: &Sealed) -> Result<Opened, Unsealable> {
        if sealed.key_id != self.current.id {
            return Err(Unsealable);
        }
        let (nonce, ciphertext) = sealed.body.split_first_chunk::<NONCE_BYTES>().ok_or(Unsealable)?;
        let payload = Payload { msg: ciphertext, aad: context };
        self.current.cipher(purpose).decrypt(&Nonce::from(*nonce), payload).map_err(|_| Unsealable)
    }
}

impl RingKey {
    fn derive(key: &[u8; 32]) -> Self {
        let hkdf = Hkdf::<Sha256>::new(None, key);
        let mut id = [0; KEY_ID_BYTES];
        expand(&hkdf, "key id", &mut id);
        let ciphers = Purpose::ALL.map(|purpose| {
            let mut sub_key = [0; 32];
            expand(&hkdf, purpose.label(), &mut sub_key);
            Aes256Gcm::new(&sub_key.into())
        });
        Self { id, ciphers }
    }

    fn cipher(&self, purpose: Purpose) -> &Aes256Gcm {
        &self.ciphers[purpose as usize]
    }
}

fn expand(hkdf: &Hkdf<Sha256>, label: &str, out: &mut [u8]) {
    hkdf.expand_multi_info(&[b"agentapi v1 ", label.as_bytes()], out).expect("at most 8160 bytes can be asked for, 32 are");
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyRing").field("current", &hex::encode(self.current.id)).finish_non_exhaustive()
    }
}

impl Sealed {
    /// The sealed thing as one run of bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        [&self.key_id, self.body.as_slice()].concat()
    }

    /// Takes the run of bytes apart.
    ///
    /// # Errors
    /// [`Unsealable`] if it is too short to name a key.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Unsealable> {
        let (key_id, body) = bytes.split_first_chunk().ok_or(Unsealable)?;
        Ok(Self { key_id: *key_id, body: body.to_vec() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring() -> KeyRing {
        KeyRing::new(&[7; 32])
    }

    #[test]
    fn what_is_sealed_opens_again_and_differs_each_time() {
        let (one, two) = (ring().seal(Purpose::AgentEnv, b"a", b"secret"), ring().seal(Purpose::AgentEnv, b"a", b"secret"));
        assert_ne!(one, two);
        let bytes = Sealed::from_bytes(&one.to_bytes()).expect("long enough");
        assert_eq!(ring().open(Purpose::AgentEnv, b"a", &bytes), Ok(b"secret".to_vec()));
    }

    #[test]
    fn another_purpose_context_or_key_does_not_open() {
        let sealed = ring().seal(Purpose::AgentEnv, b"a", b"secret");
        assert_eq!(ring().open(Purpose::SessionToken, b"a", &sealed), Err(Unsealable));
        assert_eq!(ring().open(Purpose::AgentEnv, b"b", &sealed), Err(Unsealable));
        let foreign = KeyRing::new(&[8; 32]);
        assert_eq!(foreign.open(Purpose::AgentEnv, b"a", &sealed), Err(Unsealable));
        let renamed = Sealed { key_id: foreign.current.id, ..sealed };
        assert_eq!(foreign.open(Purpose::AgentEnv, b"a", &renamed), Err(Unsealable));
    }

    #[test]
    fn any_flipped_bit_and_any_truncation_is_refused() {
        let bytes = ring().seal(Purpose::SessionToken, b"", b"sixteen bytes...").to_bytes();
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let sealed = Sealed::from_bytes(&flipped).expect("long enough");
            assert_eq!(ring().open(Purpose::SessionToken, b"", &sealed), Err(Unsealable), "bit {bit}");
        }
        for length in 0..bytes.len() {
            let opened = Sealed::from_bytes(&bytes[..length]).and_then(|sealed| ring().open(Purpose::SessionToken, b"", &sealed));
            assert_eq!(opened, Err(Unsealable), "length {length}");
        }
    }
}
