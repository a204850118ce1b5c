//! Grants: what a server says to another one when it forwards a request to it.
//!
//! `v2.<base64url(body)>.<base64url(signature)>`. The signature (Ed25519, by a key that its server made at its start) also covers method
//! and path, so that a grant serves for one request only, and the body names the server that may take it, and when it was written.
//!
//! A grant names the caller's credential and never holds it: neither a token nor an API key can be made from it. The server that takes
//! it verifies the session or the key by itself. All that it believes is that the caller showed this credential to the other server,
//! and that limits were taken there.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use crate::domain::{ApiKeyId, PublicKey, ReplicaId, SecretDigest, SessionId, SigningKey, TenantId, UserId};

/// The grant's format; part of what the signature covers, with what it is for.
const VERSION: &str = "v2";

/// Longest text that is looked at: a grant is shorter.
const MAX_CHARS: usize = 320;

/// Kinds of credentials in the body.
const SESSION: u8 = 0;
const API_KEY: u8 = 1;

/// How far the clocks of two servers may be apart, with the time that a request is on its way.
const LIFE: TimeDelta = TimeDelta::minutes(1);

/// A request that another server forwards: it took limits for it, and a caller showed it this credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ForwardingGrant {
    /// The server that forwards the request.
    pub from: ReplicaId,
    /// The server that is to answer.
    pub to: ReplicaId,
    /// Names the request in the logs of both servers.
    pub request_id: Uuid,
    /// The tenant that the credential belongs to.
    pub tenant: TenantId,
    /// What the caller showed.
    pub credential: ForwardedCredential,
}

/// A credential, as far as the server that verifies it again needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForwardedCredential {
    /// The claims of a session's token.
    Session {
        /// The session.
        id: SessionId,
        /// Its user.
        user: UserId,
        /// When it began, to the millisecond.
        issued_at: DateTime<Utc>,
    },
    /// An API key.
    ApiKey {
        /// The key.
        id: ApiKeyId,
        /// The digest of its secret, which does not give the secret.
        secret: SecretDigest,
    },
}

/// Why a grant is refused; for the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum GrantRefused {
    /// It is not in the format of a grant.
    #[error("the grant cannot be read")]
    Malformed,
    /// No server of the deployment has this id, or its row in Postgres is not authentic.
    #[error("the grant is of no server of this deployment")]
    UnknownServer,
    /// The server that it names did not sign it, or not for this method and path.
    #[error("the grant's signature is wrong")]
    Signature,
    /// It is for another server.
    #[error("the grant is for another server")]
    Recipient,
    /// It was written too long ago, or clocks differ too much.
    #[error("the grant was not written within a minute of now: do the servers' clocks differ?")]
    Time,
    /// Postgres does not say which servers there are.
    #[error("it cannot be found out which server signed the grant")]
    Unavailable,
}

impl ForwardingGrant {
    /// Writes the grant of a request with this method and path, signed by `key` of the server that forwards it.
    #[must_use]
    pub fn write(&self, key: &SigningKey, method: &str, path: &str, now: DateTime<Utc>) -> String {
        let mut body = Vec::with_capacity(128);
        body.extend_from_slice(self.from.as_uuid().as_bytes());
        body.extend_from_slice(self.to.as_uuid().as_bytes());
        body.extend_from_slice(self.request_id.as_bytes());
        body.extend_from_slice(&now.timestamp_millis().to_be_bytes());
        body.extend_from_slice(self.tenant.as_uuid().as_bytes());
        match self.credential {
            ForwardedCredential::Session { id, user, issued_at } => {
                body.push(SESSION);
                body.extend_from_slice(id.as_bytes());
                body.extend_from_slice(user.as_uuid().as_bytes());
                body.extend_from_slice(&issued_at.timestamp_millis().to_be_bytes());
            }
            ForwardedCredential::ApiKey { id, secret } => {
                body.push(API_KEY);
                body.extend_from_slice(id.as_uuid().as_bytes());
                body.extend_from_slice(secret.as_bytes());
            }
        }
        let signature = key.sign(&signed(method, path, &body));
        format!("{VERSION}.{}.{}", URL_SAFE_NO_PAD.encode(body), URL_SAFE_NO_PAD.encode(signature))
    }
}

/// A grant whose signature has yet to be verified.
#[derive(Debug)]
pub(super) struct UnverifiedGrant {
    grant: ForwardingGrant,
    written: DateTime<Utc>,
    body: Vec<u8>,
    signature: Vec<u8>,
}

impl UnverifiedGrant {
    /// Reads a grant.
    pub(super) fn read(text: &str) -> Result<Self, GrantRefused> {
        Self::parse(text).ok_or(GrantRefused::Malformed)
    }

    fn parse(text: &str) -> Option<Self> {
        let text = (text.len() <= MAX_CHARS).then_some(text)?;
        let (body, signature) = text.strip_prefix(VERSION)?.strip_prefix('.')?.split_once('.')?;
        let (body, signature) = (URL_SAFE_NO_PAD.decode(body).ok()?, URL_SAFE_NO_PAD.decode(signature).ok()?);
        let (from, rest) = uuid(&body)?;
        let (to, rest) = uuid(rest)?;
        let (request_id, rest) = uuid(rest)?;
        let (written, rest) = time(rest)?;
        let (tenant, rest) = uuid(rest)?;
        let (&kind, rest) = rest.split_first()?;
        let (id, rest) = uuid(rest)?;
        let credential = match kind {
            SESSION => {
                let (user, rest) = uuid(rest)?;
                let (issued_at, []) = time(rest)? else { return None };
                let id = SessionId::from_bytes(id.into_bytes());
                ForwardedCredential::Session { id, user: UserId::from_uuid(user), issued_at }
            }
            API_KEY => ForwardedCredential::ApiKey { id: ApiKeyId::from_uuid(id), secret: SecretDigest::from_bytes(rest).ok()? },
            _ => return None,
        };
        let (from, to) = (ReplicaId::from_uuid(from), ReplicaId::from_uuid(to));
        let grant = ForwardingGrant { from, to, request_id, tenant: TenantId::from_uuid(tenant), credential };
        Some(Self { grant, written, body, signature })
    }

    /// The server that is said to have signed it.
    pub(super) const fn from(&self) -> ReplicaId {
        self.grant.from
    }

    /// Whether `key` signed it for a request with this method and path.
    pub(super) fn is_signed_by(&self, key: &PublicKey, method: &str, path: &str) -> bool {
        key.verifies(&signed(method, path, &self.body), &self.signature)
    }

    /// Returns the grant, whose signature was verified, if it is for the server `own` and of now.
    pub(super) fn checked(self, own: ReplicaId, now: DateTime<Utc>) -> Result<ForwardingGrant, GrantRefused> {
        if self.grant.to != own {
            return Err(GrantRefused::Recipient);
        }
        if (now - self.written).abs() > LIFE {
            return Err(GrantRefused::Time);
        }
        Ok(self.grant)
    }
}

fn uuid(bytes: &[u8]) -> Option<(Uuid, &[u8])> {
    let (id, rest) = bytes.split_first_chunk()?;
    Some((Uuid::from_bytes(*id), rest))
}

fn time(bytes: &[u8]) -> Option<(DateTime<Utc>, &[u8])> {
    let (millis, rest) = bytes.split_first_chunk()?;
    Some((DateTime::from_timestamp_millis(i64::from_be_bytes(*millis))?, rest))
}

/// What the signature covers. No part holds a line feed but the last.
fn signed(method: &str, path: &str, body: &[u8]) -> Vec<u8> {
    [b"agentapi forwarding grant ", VERSION.as_bytes(), b"\n", method.as_bytes(), b"\n", path.as_bytes(), b"\n", body].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATH: &str = "/v1/agents/x/message?y";

    fn session() -> ForwardedCredential {
        let issued_at = DateTime::from_timestamp_millis(1_795_000_000_123).expect("a time");
        ForwardedCredential::Session { id: SessionId::random(), user: UserId::new(), issued_at }
    }

    fn grant(credential: ForwardedCredential) -> ForwardingGrant {
        let [from, to] = std::array::from_fn(|_| ReplicaId::new());
        ForwardingGrant { from, to, request_id: Uuid::now_v7(), tenant: TenantId::new(), credential }
    }

    fn read(
        text: &str,
        key: &SigningKey,
        own: ReplicaId,
        (method, path): (&str, &str),
        now: DateTime<Utc>,
    ) -> Result<ForwardingGrant, GrantRefused> {
        let unverified = UnverifiedGrant::read(text)?;
        if !unverified.is_signed_by(&key.public(), method, path) {
            return Err(GrantRefused::Signature);
        }
        unverified.checked(own, now)
    }

    #[test]
    fn grant_is_read_as_it_was_written() {
        let (key, now) = (SigningKey::generate(), Utc::now());
        let api_key = ForwardedCredential::ApiKey { id: ApiKeyId::new(), secret: SecretDigest::of(b"secret") };
        for credential in [session(), api_key] {
            let grant = grant(credential);
            let text = grant.write(&key, "POST", PATH, now);
            assert!(text.len() <= MAX_CHARS, "{}", text.len());
            assert_eq!(read(&text, &key, grant.to, ("POST", PATH), now), Ok(grant));
        }
    }

    #[test]
    fn grant_serves_for_one_server_request_and_minute() {
        let (key, now, grant) = (SigningKey::generate(), Utc::now(), grant(session()));
        let text = grant.write(&key, "POST", PATH, now);
        let request = ("POST", PATH);
        assert_eq!(read(&text, &key, ReplicaId::new(), request, now), Err(GrantRefused::Recipient));
        assert_eq!(read(&text, &key, grant.to, ("GET", PATH), now), Err(GrantRefused::Signature));
        assert_eq!(read(&text, &key, grant.to, ("POST", "/v1/agents/x/message"), now), Err(GrantRefused::Signature));
        assert_eq!(read(&text, &SigningKey::generate(), grant.to, request, now), Err(GrantRefused::Signature));
        for seconds in [-61, 61] {
            let at = now + TimeDelta::seconds(seconds);
            assert_eq!(read(&text, &key, grant.to, request, at), Err(GrantRefused::Time), "{seconds}");
        }
    }

    #[test]
    fn grant_changed_anywhere_is_refused() {
        let (key, now, grant) = (SigningKey::generate(), Utc::now(), grant(session()));
        let text = grant.write(&key, "GET", PATH, now);
        for place in 0..text.len() {
            let mut changed = text.clone().into_bytes();
            changed[place] = if changed[place] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).expect("ASCII");
            assert!(read(&changed, &key, grant.to, ("GET", PATH), now).is_err(), "{changed}");
            assert!(read(&text[..place], &key, grant.to, ("GET", PATH), now).is_err(), "{place}");
        }
        assert!(read(&format!("{text}A"), &key, grant.to, ("GET", PATH), now).is_err());
        assert_eq!(UnverifiedGrant::read(&"v2.".repeat(200)).err(), Some(GrantRefused::Malformed));
    }
}
