//! An agent's own secrets at rest: its environment or, of a remote agent, the token that its server asks for. Sealed, and bound to the
//! agent, so that moved to another they do not open.

use std::collections::BTreeMap;
use std::io;

use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::AgentError;
use crate::domain::{AgentId, KeyRing, Purpose, RemoteUrl, Sealed, TenantId, Unsealable};

/// Environment variables.
pub(super) type Env = BTreeMap<String, String>;

/// A token, and what it is for: it is never sent anywhere else, whatever the row says.
#[derive(Serialize, Deserialize)]
struct Token {
    url: String,
    token: Option<String>,
}

/// What seals and opens the secrets of one agent.
pub(super) struct Safe<'a> {
    pub(super) keys: &'a KeyRing,
    pub(super) tenant: TenantId,
    pub(super) id: AgentId,
}

impl Safe<'_> {
    pub(super) fn seal_env(&self, env: &Env) -> Result<Vec<u8>, AgentError> {
        self.seal(env)
    }

    pub(super) fn open_env(&self, sealed: &[u8]) -> Result<Env, AgentError> {
        self.open(sealed)
    }

    pub(super) fn seal_token(&self, url: &RemoteUrl, token: Option<&SecretString>) -> Result<Vec<u8>, AgentError> {
        let token = token.map(|token| token.expose_secret().to_owned());
        self.seal(&Token { url: url.as_str().to_owned(), token })
    }

    pub(super) fn open_token(&self, url: &RemoteUrl, sealed: &[u8]) -> Result<Option<SecretString>, AgentError> {
        let Token { url: sealed_for, token } = self.open(sealed)?;
        if sealed_for == url.as_str() { Ok(token.map(SecretString::from)) } else { Err(AgentError::Sealed) }
    }

    fn seal(&self, secrets: &impl Serialize) -> Result<Vec<u8>, AgentError> {
        let plain = serde_json::to_vec(secrets).map_err(io::Error::other)?;
        Ok(self.keys.seal(Purpose::AgentEnv, &context(self.tenant, self.id), &plain).to_bytes())
    }

    fn open<T: DeserializeOwned>(&self, sealed: &[u8]) -> Result<T, AgentError> {
        let sealed = Sealed::from_bytes(sealed).map_err(|_| AgentError::Sealed)?;
        let plain = self.keys.open(Purpose::AgentEnv, &context(self.tenant, self.id), &sealed).map_err(|_| AgentError::Sealed)?;
        serde_json::from_slice(&plain).map_err(|_| AgentError::Sealed)
    }
}

/// The secrets of agent `id` sealed by the current key; nothing if they are already.
///
/// # Errors
/// [`Unsealable`] if no key of the ring opens them.
pub fn reseal(keys: &KeyRing, tenant: TenantId, id: AgentId, sealed: &[u8]) -> Result<Option<Vec<u8>>, Unsealable> {
    let resealed = keys.reseal(Purpose::AgentEnv, &context(tenant, id), &Sealed::from_bytes(sealed)?)?;
    Ok(resealed.map(|sealed| sealed.to_bytes()))
}

fn context(tenant: TenantId, id: AgentId) -> Vec<u8> {
    [*tenant.as_uuid().as_bytes(), *id.as_uuid().as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_opens_for_its_agent_and_its_server_only() {
        let keys = KeyRing::new(&[7; 32]);
        let safe = Safe { keys: &keys, tenant: TenantId::new(), id: AgentId::new() };
        let [here, there]: [RemoteUrl; 2] = ["https://a.example", "https://b.example"].map(|url| url.parse().unwrap());
        let token = SecretString::from("secret");
        let sealed = safe.seal_token(&here, Some(&token)).unwrap();
        assert_eq!(safe.open_token(&here, &sealed).unwrap().unwrap().expose_secret(), "secret");
        assert!(matches!(safe.open_token(&there, &sealed), Err(AgentError::Sealed)));
        let other = Safe { keys: &keys, tenant: safe.tenant, id: AgentId::new() };
        assert!(matches!(other.open_token(&here, &sealed), Err(AgentError::Sealed)));
        assert!(safe.open_token(&here, &safe.seal_token(&here, None).unwrap()).unwrap().is_none());
    }
}
