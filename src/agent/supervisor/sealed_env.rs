//! An agent's own environment at rest: sealed, and bound to its agent, so that moved to another it does not open.

use std::collections::BTreeMap;
use std::io;

use super::AgentError;
use crate::domain::{AgentId, KeyRing, Purpose, Sealed, TenantId};

type Env = BTreeMap<String, String>;

pub(super) fn seal(keys: &KeyRing, tenant: TenantId, id: AgentId, env: &Env) -> Result<Vec<u8>, AgentError> {
    let plain = serde_json::to_vec(env).map_err(io::Error::other)?;
    Ok(keys.seal(Purpose::AgentEnv, &context(tenant, id), &plain).to_bytes())
}

pub(super) fn open(keys: &KeyRing, tenant: TenantId, id: AgentId, sealed: &[u8]) -> Result<Env, AgentError> {
    let sealed = Sealed::from_bytes(sealed).map_err(|_| AgentError::Sealed)?;
    let plain = keys.open(Purpose::AgentEnv, &context(tenant, id), &sealed).map_err(|_| AgentError::Sealed)?;
    serde_json::from_slice(&plain).map_err(|_| AgentError::Sealed)
}

fn context(tenant: TenantId, id: AgentId) -> Vec<u8> {
    [*tenant.as_uuid().as_bytes(), *id.as_uuid().as_bytes()].concat()
}
