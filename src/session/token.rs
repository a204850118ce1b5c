//! The token: `v1.<key id>.<base64url(nonce ‖ ciphertext ‖ tag)>`, about 130 characters.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret, SecretString};
use uuid::Uuid;

use crate::domain::{KeyRing, Purpose, Sealed, SessionId, TenantId, UserId};

/// The token's format; part of what the seal protects.
const VERSION: &str = "v1";

/// Longest text that is looked at: a token is far shorter.
const MAX_CHARS: usize = 512;

/// Length of what is sealed: session, tenant and user of 16 bytes each, and a time of 8.
const CLAIMS_BYTES: usize = 56;

/// What a token says, sealed: nobody else can read it, and nobody else can have written it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claims {
    /// The session.
    pub session: SessionId,
    /// The tenant that the user belongs to.
    pub tenant: TenantId,
    /// The user.
    pub user: UserId,
    /// When the session began, to the millisecond.
    pub issued_at: DateTime<Utc>,
}

/// A sealed token.
#[derive(Clone)]
pub struct Token(SecretString);

impl Token {
    /// The token's text, for the client and nobody else.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(********)")
    }
}

impl Claims {
    pub(super) fn seal(&self, keys: &KeyRing) -> Token {
        let mut plain = Vec::with_capacity(CLAIMS_BYTES);
        plain.extend_from_slice(self.session.as_bytes());
        plain.extend_from_slice(self.tenant.as_uuid().as_bytes());
        plain.extend_from_slice(self.user.as_uuid().as_bytes());
        plain.extend_from_slice(&self.issued_at.timestamp_millis().to_be_bytes());
        let sealed = keys.seal(Purpose::SessionToken, VERSION.as_bytes(), &plain);
        Token(format!("{VERSION}.{}.{}", hex::encode(sealed.key_id), URL_SAFE_NO_PAD.encode(sealed.body)).into())
    }

    pub(super) fn open(keys: &KeyRing, token: &str) -> Option<Self> {
        if token.len() > MAX_CHARS {
            return None;
        }
        let (key_id, body) = token.strip_prefix(VERSION)?.strip_prefix('.')?.split_once('.')?;
        let mut sealed = Sealed { key_id: [0; 4], body: URL_SAFE_NO_PAD.decode(body).ok()? };
        // One spelling a token: hex would also take upper case.
        if key_id.bytes().any(|b| b.is_ascii_uppercase()) {
            return None;
        }
        hex::decode_to_slice(key_id, &mut sealed.key_id).ok()?;
        let plain = keys.open(Purpose::SessionToken, VERSION.as_bytes(), &sealed).ok()?;
        Self::parse(&plain)
    }

    fn parse(plain: &[u8]) -> Option<Self> {
        let (session, rest) = plain.split_first_chunk::<16>()?;
        let (tenant, rest) = rest.split_first_chunk::<16>()?;
        let (user, rest) = rest.split_first_chunk::<16>()?;
        let issued_at_ms = i64::from_be_bytes(rest.try_into().ok()?);
        Some(Self {
            session: SessionId::from_bytes(*session),
            tenant: TenantId::from_uuid(Uuid::from_bytes(*tenant)),
            user: UserId::from_uuid(Uuid::from_bytes(*user)),
            issued_at: DateTime::from_timestamp_millis(issued_at_ms)?,
        })
    }
}
