//! What the server calls over the network.

use std::fmt;
use std::str::FromStr;

use super::{AgentId, Expected, ReplicaId, TenantId};
use sha2::{Digest, Sha256};

/// Something outside of this process that is called over the network, as far as it fails as one.
///
/// What belongs to a tenant is told apart by tenant: where one tenant's calls fail, no other tenant's are cut off. As text it is
/// `upstream:{tenant}:{digest}`, `agent:{agent}` or `replica:{replica}`: ids and a digest, never what somebody wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Service {
    /// A place that a tenant named: a digest of scheme, host and port.
    Upstream(TenantId, [u8; 16]),
    /// A remote agent.
    Agent(AgentId),
    /// Another server of this deployment.
    Replica(ReplicaId),
}

impl Service {
    /// The place at `scheme`, `host` and `port`, as `tenant` sees it.
    #[must_use]
    pub fn upstream(tenant: TenantId, scheme: &str, host: &str, port: u16) -> Self {
        let mut digest = Sha256::new();
        digest.update(b"agentapi upstream v1");
        // With its length, so that no part of one can be taken for a part of the other.
        digest.update(scheme.len().to_be_bytes());
        digest.update(scheme.to_ascii_lowercase());
        digest.update(port.to_be_bytes());
        digest.update(host.to_ascii_lowercase());
        let mut origin = [0; 16];
        origin.copy_from_slice(&digest.finalize()[..16]);
        Self::Upstream(tenant, origin)
    }

    /// What kind of service it is: one of three words, for metrics.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Upstream(..) => "upstream",
            Self::Agent(_) => "agent",
            Self::Replica(_) => "replica",
        }
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Upstream(tenant, origin) => write!(f, "upstream:{tenant}:{}", hex::encode(origin)),
            Self::Agent(agent) => write!(f, "agent:{agent}"),
            Self::Replica(replica) => write!(f, "replica:{replica}"),
        }
    }
}

impl FromStr for Service {
    type Err = Expected;

    fn from_str(text: &str) -> Result<Self, Expected> {
        parse(text).ok_or(Expected("upstream:{tenant}:{digest}, agent:{id} or replica:{id}"))
    }
}

fn parse(text: &str) -> Option<Service> {
    match text.split_once(':')? {
        ("upstream", rest) => {
            let (tenant, digest) = rest.split_once(':')?;
            let mut origin = [0; 16];
            hex::decode_to_slice(digest, &mut origin).ok()?;
            Some(Service::Upstream(tenant.parse().ok()?, origin))
        }
        ("agent", id) => Some(Service::Agent(id.parse().ok()?)),
        ("replica", id) => Some(Service::Replica(id.parse().ok()?)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_read_as_it_is_written() {
        let tenant = TenantId::new();
        let services =
            [Service::upstream(tenant, "https", "h", 443), Service::Agent(AgentId::new()), Service::Replica(ReplicaId::new())];
        for service in services {
            assert_eq!(service.to_string().parse::<Service>().expect("ours"), service);
        }
        for wrong in ["", "agent", "agent:", "agent:x", "upstream:x:y", "replica:*", "other:0", "upstream:\n"] {
            assert!(wrong.parse::<Service>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn places_are_told_apart_by_tenant_scheme_host_and_port() {
        let (one, other) = (TenantId::new(), TenantId::new());
        let place = Service::upstream(one, "https", "Example.org", 443);
        assert_eq!(place, Service::upstream(one, "HTTPS", "example.ORG", 443));
        for different in [
            Service::upstream(other, "https", "example.org", 443),
            Service::upstream(one, "http", "example.org", 443),
            Service::upstream(one, "https", "example.com", 443),
            Service::upstream(one, "https", "example.org", 8443),
        ] {
            assert_ne!(place, different);
        }
    }
}
