//! What a server vouches for when it passes a request on: who asks, and that this was checked.
//!
//! `v1.<key id>.<base64url(body)>.<base64url(signature)>`. The signature also covers method and path, so that it serves for this
//! request only, and the body names the server that may take it, and when it was written.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use crate::domain::{ApiKeyId, Credential, KeyId, KeyRing, ReplicaId, SessionId, UserRole};

/// The grant's format; part of what the signature protects.
const VERSION: &str = "v1";

/// Longest text that is looked at: a grant is shorter.
const MAX_CHARS: usize = 256;

/// Server, session or API key, and request id of 16 bytes each, a time of 8, and a byte for the role and which of the two it is.
const BODY_BYTES: usize = 57;

/// Set in the role's byte where an API key is named. A server of a version without API keys refuses that as a role it does not know.
const BY_API_KEY: u8 = 0x80;

/// How far the clocks of two servers may be apart, with the time that a request is on its way.
const LIFE: TimeDelta = TimeDelta::minutes(1);

/// A request that was let in by another server, within limits, for the bearer of a session that lives or an API key that is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grant {
    /// The server that is to answer.
    pub to: ReplicaId,
    /// What its caller came by.
    pub credential: Credential,
    /// What its user may do.
    pub role: UserRole,
    /// Names the request in the logs of both servers.
    pub request_id: Uuid,
}

/// It was not written by a server with our key, for this server and this request, a moment ago; which of these is not told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a request that a server passed on")]
pub struct GrantRefused;

impl Grant {
    /// The grant as text, for a request with this method and path.
    #[must_use]
    pub fn write(&self, keys: &KeyRing, method: &str, path: &str, now: DateTime<Utc>) -> String {
        let mut body = Vec::with_capacity(BODY_BYTES);
        body.extend_from_slice(self.to.as_uuid().as_bytes());
        let (id, by) = match self.credential {
            Credential::Session(id) => (*id.as_bytes(), 0),
            Credential::ApiKey(id) => (id.as_uuid().into_bytes(), BY_API_KEY),
        };
        body.extend_from_slice(&id);
        body.extend_from_slice(self.request_id.as_bytes());
        body.extend_from_slice(&now.timestamp_millis().to_be_bytes());
        body.push(role_byte(self.role) | by);
        let (key, signature) = keys.sign(&signed(method, path, &body));
        format!("{VERSION}.{key}.{}.{}", URL_SAFE_NO_PAD.encode(body), URL_SAFE_NO_PAD.encode(signature))
    }

    /// Reads the grant of a request to the server `own`.
    ///
    /// # Errors
    /// [`GrantRefused`], whatever is wrong.
    pub fn read(
        text: &str,
        keys: &KeyRing,
        own: ReplicaId,
        method: &str,
        path: &str,
        now: DateTime<Utc>,
    ) -> Result<Self, GrantRefused> {
        Self::parse(text, keys, method, path)
            .filter(|(grant, written)| grant.to == own && (now - written).abs() <= LIFE)
            .map(|(grant, _)| grant)
            .ok_or(GrantRefused)
    }

    fn parse(text: &str, keys: &KeyRing, method: &str, path: &str) -> Option<(Self, DateTime<Utc>)> {
        let text = (text.len() <= MAX_CHARS).then_some(text)?;
        let mut parts = text.strip_prefix(VERSION)?.strip_prefix('.')?.split('.');
        let (key, body, signature) = (parts.next()?, parts.next()?, parts.next()?);
        let mut id = [0; 4];
        hex::decode_to_slice(key, &mut id).ok()?;
        let (body, signature) = (URL_SAFE_NO_PAD.decode(body).ok()?, URL_SAFE_NO_PAD.decode(signature).ok()?);
        if parts.next().is_some() || !keys.is_signed(&signed(method, path, &body), KeyId::from_bytes(id), &signature) {
            return None;
        }
        let (to, rest) = body.split_first_chunk::<16>()?;
        let (id, rest) = rest.split_first_chunk::<16>()?;
        let (request_id, rest) = rest.split_first_chunk::<16>()?;
        let (written, rest) = rest.split_first_chunk::<8>()?;
        let &[role_and_by] = rest else { return None };
        let role = role_and_by & !BY_API_KEY;
        let grant = Self {
            to: ReplicaId::from_uuid(Uuid::from_bytes(*to)),
            credential: match role_and_by & BY_API_KEY {
                0 => Credential::Session(SessionId::from_bytes(*id)),
                _ => Credential::ApiKey(ApiKeyId::from_uuid(Uuid::from_bytes(*id))),
            },
            role: [UserRole::Member, UserRole::Admin, UserRole::Operator].into_iter().find(|known| role_byte(*known) == role)?,
            request_id: Uuid::from_bytes(*request_id),
        };
        Some((grant, DateTime::from_timestamp_millis(i64::from_be_bytes(*written))?))
    }
}

/// What the signature covers. No part holds a line feed but the last, whose length is fixed.
fn signed(method: &str, path: &str, body: &[u8]) -> Vec<u8> {
    [VERSION.as_bytes(), b"\n", method.as_bytes(), b"\n", path.as_bytes(), b"\n", body].concat()
}

const fn role_byte(role: UserRole) -> u8 {
    match role {
        UserRole::Member => 0,
        UserRole::Admin => 1,
        UserRole::Operator => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATH: &str = "/v1/agents/x/message?y";

    fn keys() -> KeyRing {
        KeyRing::new(&[7; 32])
    }

    fn grant() -> Grant {
        let credential = Credential::Session(SessionId::random());
        Grant { to: ReplicaId::new(), credential, role: UserRole::Admin, request_id: Uuid::now_v7() }
    }

    #[test]
    fn a_grant_is_read_by_the_server_it_is_for_and_for_that_request_alone() {
        let (grant, now) = (grant(), Utc::now());
        let text = grant.write(&keys(), "POST", PATH, now);
        let read = |keys: &KeyRing, own, method, path, at| Grant::read(&text, keys, own, method, path, at);
        assert_eq!(read(&keys(), grant.to, "POST", PATH, now), Ok(grant));
        assert_eq!(read(&keys(), ReplicaId::new(), "POST", PATH, now), Err(GrantRefused));
        assert_eq!(read(&keys(), grant.to, "GET", PATH, now), Err(GrantRefused));
        assert_eq!(read(&keys(), grant.to, "POST", "/v1/agents/x/message", now), Err(GrantRefused));
        assert_eq!(read(&KeyRing::new(&[8; 32]), grant.to, "POST", PATH, now), Err(GrantRefused));
        for minutes in [-2, 2] {
            assert_eq!(read(&keys(), grant.to, "POST", PATH, now + TimeDelta::minutes(minutes)), Err(GrantRefused));
        }
    }

    #[test]
    fn a_session_and_an_api_key_of_the_same_bytes_are_told_apart() {
        let (id, now) = (Uuid::now_v7(), Utc::now());
        for credential in
            [Credential::Session(SessionId::from_bytes(id.into_bytes())), Credential::ApiKey(ApiKeyId::from_uuid(id))]
        {
            for role in [UserRole::Member, UserRole::Admin, UserRole::Operator] {
                let grant = Grant { credential, role, ..grant() };
                let text = grant.write(&keys(), "GET", PATH, now);
                assert_eq!(Grant::read(&text, &keys(), grant.to, "GET", PATH, now), Ok(grant));
            }
        }
    }

    #[test]
    fn a_grant_that_was_changed_anywhere_is_refused() {
        let (grant, now) = (grant(), Utc::now());
        let text = grant.write(&keys(), "GET", PATH, now);
        for place in 0..text.len() {
            let mut changed = text.clone().into_bytes();
            changed[place] = if changed[place] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).expect("ASCII");
            // Hexadecimal digits may be written in either case; then it is the same grant.
            if !changed.eq_ignore_ascii_case(&text) {
                assert_eq!(Grant::read(&changed, &keys(), grant.to, "GET", PATH, now), Err(GrantRefused), "{changed}");
            }
            assert_eq!(Grant::read(&text[..place], &keys(), grant.to, "GET", PATH, now), Err(GrantRefused));
        }
        let longer = format!("{text}.x");
        assert_eq!(Grant::read(&longer, &keys(), grant.to, "GET", PATH, now), Err(GrantRefused));
    }
}
