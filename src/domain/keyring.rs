//! Sealing with AES-256-GCM: session tokens, session records, agents' secrets at rest, cached values.
//!
//! And authentication with HMAC-SHA256 (RFC 2104): values that are kept readable in Redis and Postgres.
//!
//! A key is never used as it is: each purpose has a sub-key (HKDF-SHA256, RFC 5869), so that what was sealed for one purpose
//! cannot be opened for another. What is sealed names its key, so that keys can be changed. Nonces are 96 random bits, for
//! which NIST SP 800-38D allows 2^32 seals a key.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use aes_gcm::aead::{Aead, Payload};
use aes_gcm::{Aes256Gcm, KeyInit, Nonce};
use hkdf::Hkdf;
use hmac::{Hmac, Mac as _};
use sha2::Sha256;

use super::random_bytes;

const NONCE_BYTES: usize = 12;
const KEY_ID_BYTES: usize = 4;
const MAC_BYTES: usize = 32;

/// Seals by one key at which to rotate: near 2^31, half of what NIST SP 800-38D allows with random nonces.
const SEALS_TO_ROTATE_AT: u64 = 2_000_000_000;

/// Names a key without telling anything of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyId([u8; KEY_ID_BYTES]);

impl KeyId {
    /// Takes an id as it was stored.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; KEY_ID_BYTES]) -> Self {
        Self(bytes)
    }

    /// The id as it is stored: the first bytes of what is sealed.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; KEY_ID_BYTES] {
        &self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

/// What something is sealed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// The token that a signed-in client shows.
    SessionToken,
    /// The record of a session, as the store keeps it.
    SessionRecord,
    /// An agent's own environment variables, as Postgres keeps them.
    AgentEnv,
    /// A cached value, as Redis keeps it.
    CachedValue,
}

impl Purpose {
    const ALL: [Self; 4] = [Self::SessionToken, Self::SessionRecord, Self::AgentEnv, Self::CachedValue];

    const fn label(self) -> &'static str {
        match self {
            Self::SessionToken => "session token",
            Self::SessionRecord => "session record",
            Self::AgentEnv => "agent env",
            Self::CachedValue => "cached value",
        }
    }
}

/// What a message authentication code is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MacPurpose {
    /// A circuit, as Redis keeps it.
    Circuit,
    /// A server's address and public key, as Postgres keeps them.
    Replica,
}

impl MacPurpose {
    const ALL: [Self; 2] = [Self::Circuit, Self::Replica];

    const fn label(self) -> &'static str {
        match self {
            Self::Circuit => "circuit mac",
            Self::Replica => "replica mac",
        }
    }
}

/// A message authentication code: the id of the key that made it, and the code.
#[derive(Debug, Clone, Copy)]
pub struct Mac([u8; Self::BYTES]);

impl Mac {
    /// Length of the code with the key's id.
    pub const BYTES: usize = KEY_ID_BYTES + MAC_BYTES;

    /// Takes a code as it was stored.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// The code as it is stored.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; Self::BYTES] {
        &self.0
    }
}

/// The key that seals, and those that open beside it. Clones share the keys, and the count of what was sealed.
#[derive(Clone)]
pub struct KeyRing(Arc<Ring>);

struct Ring {
    current: RingKey,
    others: Vec<RingKey>,
    seals: AtomicU64,
}

/// A key is on the ring twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a key is given twice")]
pub struct RepeatedKey;

struct RingKey {
    id: KeyId,
    ciphers: [Aes256Gcm; Purpose::ALL.len()],
    macs: [Hmac<Sha256>; MacPurpose::ALL.len()],
}

/// Something sealed: the id of the key it is sealed with, and `nonce ‖ ciphertext ‖ tag`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// Names the key.
    pub key_id: KeyId,
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
        Self::of(RingKey::derive(key), Vec::new())
    }

    /// A ring whose key `current` seals, and where `others` open as well: those used before, or to be used next.
    ///
    /// # Errors
    /// [`RepeatedKey`] if two of all these keys are the same, or cannot be told apart by their ids.
    pub fn with_others<'a>(current: &[u8; 32], others: impl IntoIterator<Item = &'a [u8; 32]>) -> Result<Self, RepeatedKey> {
        let (current, mut ring) = (RingKey::derive(current), Vec::new());
        for other in others.into_iter().map(RingKey::derive) {
            if other.id == current.id || ring.iter().any(|key: &RingKey| key.id == other.id) {
                return Err(RepeatedKey);
            }
            ring.push(other);
        }
        Ok(Self::of(current, ring))
    }

    fn of(current: RingKey, others: Vec<RingKey>) -> Self {
        Self(Arc::new(Ring { current, others, seals: AtomicU64::new(0) }))
    }

    /// Names the key that seals.
    #[must_use]
    pub fn current(&self) -> KeyId {
        self.0.current.id
    }

    /// How many things were sealed, by the key that seals, in the life of this ring.
    #[must_use]
    pub fn seals(&self) -> u64 {
        self.0.seals.load(Ordering::Relaxed)
    }

    /// As if so many things more had been sealed: for tests, which cannot take the time.
    #[cfg(test)]
    pub(crate) fn count_seals(&self, seals: u64) {
        self.0.seals.fetch_add(seals, Ordering::Relaxed);
    }

    /// Whether that is so many that the key should be changed.
    #[must_use]
    pub fn is_worn(&self) -> bool {
        self.seals() >= SEALS_TO_ROTATE_AT
    }

    /// Seals `plaintext` for `purpose`; it opens only with the same `context`.
    ///
    /// # Panics
    /// If `plaintext` is longer than the 64 GiB that AES-GCM takes; nothing here is.
    #[must_use]
    pub fn seal(&self, purpose: Purpose, context: &[u8], plaintext: &[u8]) -> Sealed {
        let nonce = random_bytes::<NONCE_BYTES>();
        let payload = Payload { msg: plaintext, aad: context };
        let key = &self.0.current;
        let ciphertext = key.cipher(purpose).encrypt(&Nonce::from(nonce), payload).expect("plaintext is below 64 GiB");
        self.0.seals.fetch_add(1, Ordering::Relaxed);
        Sealed { key_id: key.id, body: [&nonce, ciphertext.as_slice()].concat() }
    }

    /// Opens what was sealed for `purpose` with `context`. The key is chosen by its id alone, never by trying.
    ///
    /// # Errors
    /// [`Unsealable`], whatever is wrong.
    pub fn open(&self, purpose: Purpose, context: &[u8], sealed: &Sealed) -> Result<Opened, Unsealable> {
        let Ring { current, others, .. } = &*self.0;
        let key = std::iter::once(current).chain(others).find(|key| key.id == sealed.key_id).ok_or(Unsealable)?;
        let (nonce, ciphertext) = sealed.body.split_first_chunk::<NONCE_BYTES>().ok_or(Unsealable)?;
        let payload = Payload { msg: ciphertext, aad: context };
        key.cipher(purpose).decrypt(&Nonce::from(*nonce), payload).map_err(|_| Unsealable)
    }

    /// Returns the code (HMAC-SHA256) of `text`, by the current key. Does not count as a seal: there is no nonce to repeat.
    #[must_use]
    pub fn mac(&self, purpose: MacPurpose, text: &[u8]) -> Mac {
        let key = &self.0.current;
        let code = key.hmac(purpose).chain_update(text).finalize().into_bytes();
        let mut bytes = [0; Mac::BYTES];
        bytes[..KEY_ID_BYTES].copy_from_slice(key.id.as_bytes());
        bytes[KEY_ID_BYTES..].copy_from_slice(&code);
        Mac(bytes)
    }

    /// Whether `mac` is the code of `text` by a key of the ring; compares in constant time.
    #[must_use]
    pub fn is_authentic(&self, purpose: MacPurpose, text: &[u8], mac: &Mac) -> bool {
        let (id, code) = mac.0.split_at(KEY_ID_BYTES);
        let Ring { current, others, .. } = &*self.0;
        let key = std::iter::once(current).chain(others).find(|key| key.id.as_bytes() == id);
        key.is_some_and(|key| key.hmac(purpose).chain_update(text).verify_slice(code).is_ok())
    }

    /// Seals again, by the current key, what another key sealed; nothing if the current key sealed it.
    ///
    /// # Errors
    /// [`Unsealable`] if no key of the ring opens it.
    pub fn reseal(&self, purpose: Purpose, context: &[u8], sealed: &Sealed) -> Result<Option<Sealed>, Unsealable> {
        if sealed.key_id == self.current() {
            return Ok(None);
        }
        let plaintext = self.open(purpose, context, sealed)?;
        Ok(Some(self.seal(purpose, context, &plaintext)))
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
        let macs = MacPurpose::ALL.map(|purpose| {
            let mut sub_key = [0; 32];
            expand(&hkdf, purpose.label(), &mut sub_key);
            Hmac::new_from_slice(&sub_key).expect("HMAC takes keys of any length")
        });
        Self { id: KeyId(id), ciphers, macs }
    }

    fn hmac(&self, purpose: MacPurpose) -> Hmac<Sha256> {
        self.macs[purpose as usize].clone()
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
        let others: Vec<String> = self.0.others.iter().map(|key| key.id.to_string()).collect();
        f.debug_struct("KeyRing").field("current", &self.current().to_string()).field("others", &others).finish_non_exhaustive()
    }
}

impl Sealed {
    /// The sealed thing as one run of bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        [self.key_id.as_bytes(), self.body.as_slice()].concat()
    }

    /// Takes the run of bytes apart.
    ///
    /// # Errors
    /// [`Unsealable`] if it is too short to name a key.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Unsealable> {
        let (key_id, body) = bytes.split_first_chunk().ok_or(Unsealable)?;
        Ok(Self { key_id: KeyId(*key_id), body: body.to_vec() })
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
        let renamed = Sealed { key_id: foreign.current(), ..sealed };
        assert_eq!(foreign.open(Purpose::AgentEnv, b"a", &renamed), Err(Unsealable));
    }

    #[test]
    fn another_key_of_the_ring_opens_and_only_the_current_one_seals() {
        let old = ring().seal(Purpose::AgentEnv, b"a", b"secret");
        let rotated = KeyRing::with_others(&[8; 32], [&[7; 32], &[9; 32]]).expect("three keys");
        assert_eq!(rotated.open(Purpose::AgentEnv, b"a", &old), Ok(b"secret".to_vec()));
        let new = rotated.reseal(Purpose::AgentEnv, b"a", &old).expect("opens").expect("is sealed by another");
        assert_eq!((new.key_id, rotated.seals()), (rotated.current(), 1));
        assert_eq!(rotated.reseal(Purpose::AgentEnv, b"a", &new), Ok(None));
        assert_eq!(KeyRing::new(&[8; 32]).open(Purpose::AgentEnv, b"a", &new), Ok(b"secret".to_vec()));
        assert_eq!(KeyRing::new(&[8; 32]).reseal(Purpose::AgentEnv, b"a", &old), Err(Unsealable));
    }

    #[test]
    fn mac_is_authentic_for_its_text_purpose_and_ring_only() {
        let mac = ring().mac(MacPurpose::Circuit, b"text");
        let rotated = KeyRing::with_others(&[8; 32], [&[7; 32]]).expect("two keys");
        assert!(ring().is_authentic(MacPurpose::Circuit, b"text", &mac), "the key that made it");
        assert!(rotated.is_authentic(MacPurpose::Circuit, b"text", &mac), "a ring that has this key as a previous one");
        assert!(!ring().is_authentic(MacPurpose::Circuit, b"texts", &mac), "another text");
        assert!(!ring().is_authentic(MacPurpose::Replica, b"text", &mac), "another purpose");
        assert!(!KeyRing::new(&[8; 32]).is_authentic(MacPurpose::Circuit, b"text", &mac), "another key");
        for bit in 0..Mac::BYTES * 8 {
            let mut flipped = mac;
            flipped.0[bit / 8] ^= 1 << (bit % 8);
            assert!(!ring().is_authentic(MacPurpose::Circuit, b"text", &flipped), "bit {bit}");
        }
        assert!(Mac::from_bytes(&mac.as_bytes()[1..]).is_none(), "another length");
        assert_eq!(ring().seals(), 0);
    }

    #[test]
    fn no_key_is_on_a_ring_twice() {
        assert_eq!(KeyRing::with_others(&[7; 32], [&[7; 32]]).expect_err("twice"), RepeatedKey);
        assert_eq!(KeyRing::with_others(&[7; 32], [&[8; 32], &[8; 32]]).expect_err("twice"), RepeatedKey);
    }

    #[test]
    fn a_key_that_nears_half_its_budget_is_worn() {
        let ring = ring();
        ring.0.seals.store(SEALS_TO_ROTATE_AT - 1, Ordering::Relaxed);
        assert!(!ring.is_worn());
        let _ = ring.clone().seal(Purpose::AgentEnv, b"a", b"secret");
        assert!(ring.is_worn() && ring.seals() < 1 << 31);
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
