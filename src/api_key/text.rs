//! A key's text: `agk_` and the base64url of tenant, key id (16 bytes each) and secret (32 bytes), always 90 characters.
//!
//! The tenant is in it since every look-up is within one. Neither it nor the id is a secret; who changes them has another's secret
//! to guess.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret, SecretString};
use uuid::Uuid;

use crate::domain::{ApiKeyId, SecretDigest, TenantId};

/// What every key begins with, so that people, and scanners for leaked secrets, know one when they see it.
const PREFIX: &str = "agk_";

const SECRET_BYTES: usize = 32;

/// Tenant, key id, secret.
const BODY_BYTES: usize = 16 + 16 + SECRET_BYTES;

/// Characters of a key. Nothing else is looked at.
const CHARS: usize = PREFIX.len() + (BODY_BYTES * 8).div_ceil(6);

/// A key's text, for who made it and nobody else.
#[derive(Clone)]
pub struct ApiKeyText(SecretString);

impl ApiKeyText {
    /// The text of a tenant's key.
    pub(super) fn write(tenant: TenantId, id: ApiKeyId, secret: &[u8; SECRET_BYTES]) -> Self {
        let mut body = Vec::with_capacity(BODY_BYTES);
        body.extend_from_slice(tenant.as_uuid().as_bytes());
        body.extend_from_slice(id.as_uuid().as_bytes());
        body.extend_from_slice(secret);
        Self(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(body)).into())
    }

    /// The text itself.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl fmt::Debug for ApiKeyText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKeyText(********)")
    }
}

/// What a key that somebody shows says. Anybody can write one: nothing of it is known to be true.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShownKey {
    /// The tenant that it says it is of.
    pub tenant: TenantId,
    /// The key that it says it is.
    pub id: ApiKeyId,
    /// The digest of its secret, which is kept nowhere.
    pub(super) secret: SecretDigest,
}

impl ShownKey {
    /// A key that another server was shown, known by the digest of its secret.
    #[must_use]
    pub const fn of_digest(tenant: TenantId, id: ApiKeyId, secret: SecretDigest) -> Self {
        Self { tenant, id, secret }
    }

    /// The digest of its secret.
    #[must_use]
    pub const fn secret(&self) -> SecretDigest {
        self.secret
    }

    /// Reads a key. A text of another form is none, whatever it begins with.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        if text.len() != CHARS {
            return None;
        }
        // One spelling a key: the engine takes neither padding nor bits that are left over.
        let body = URL_SAFE_NO_PAD.decode(text.strip_prefix(PREFIX)?).ok()?;
        let (tenant, rest) = body.split_first_chunk::<16>()?;
        let (id, secret) = rest.split_first_chunk::<16>()?;
        Some(Self {
            tenant: TenantId::from_uuid(Uuid::from_bytes(*tenant)),
            id: ApiKeyId::from_uuid(Uuid::from_bytes(*id)),
            secret: SecretDigest::of(secret),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_as_it_is_written_and_nothing_else_is() {
        let (tenant, id) = (TenantId::new(), ApiKeyId::new());
        let text = ApiKeyText::write(tenant, id, &[0xfb; SECRET_BYTES]);
        assert_eq!(text.expose().len(), 90);
        assert_eq!(ShownKey::read(text.expose()), Some(ShownKey { tenant, id, secret: SecretDigest::of(&[0xfb; SECRET_BYTES]) }));
        let plain = text.expose();
        let changed = |from: usize, to: &str| format!("{}{to}{}", &plain[..from], &plain[from + to.len()..]);
        for wrong in [
            String::new(),
            plain[..89].to_owned(),
            format!("{plain}="),
            format!("{plain}A"),
            changed(0, "AGK_"),
            changed(20, "+"),
            changed(20, " "),
            // The last character has four bits that must be zero.
            changed(89, if plain.ends_with('w') { "x" } else { "9" }),
            plain.replacen("agk_", "", 1),
        ] {
            assert_eq!(ShownKey::read(&wrong), None, "{wrong}");
        }
        assert_eq!(format!("{text:?}"), "ApiKeyText(********)");
        assert!(format!("{:?}", ShownKey::read(plain)).contains("SecretDigest(********)"));
    }

    #[test]
    fn every_part_counts() {
        let (tenant, id) = (TenantId::new(), ApiKeyId::new());
        let read = |tenant, id, secret: [u8; SECRET_BYTES]| ShownKey::read(ApiKeyText::write(tenant, id, &secret).expose());
        let key = read(tenant, id, [7; SECRET_BYTES]);
        assert!(key.is_some());
        assert_ne!(key, read(TenantId::new(), id, [7; SECRET_BYTES]));
        assert_ne!(key, read(tenant, ApiKeyId::new(), [7; SECRET_BYTES]));
        assert_ne!(key, read(tenant, id, [8; SECRET_BYTES]));
    }
}
