//! The guard against DNS rebinding: a browser that was tricked into calling us names a host that is not ours.

use std::collections::HashSet;

use axum::extract::Request;
use axum::http::header;

use super::App;
use super::forwarded::Forwarded;
use super::problem::{Code, Problem};

/// The hosts that a request may name.
#[derive(Debug)]
pub(super) enum AllowedHosts {
    Any,
    Only(HashSet<String>),
}

impl AllowedHosts {
    pub(super) fn new(hosts: &[String]) -> Self {
        if hosts.iter().any(|host| host == "*") {
            return Self::Any;
        }
        Self::Only(hosts.iter().map(|host| bare(host)).collect())
    }

    fn allow(&self, host: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Only(hosts) => hosts.contains(&bare(host)),
        }
    }
}

/// The host in lower case, without port and without the brackets of an IPv6 address.
pub(super) fn bare(host: &str) -> String {
    let name = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _)) => address,
        None if host.matches(':').count() == 1 => host.split_once(':').map_or(host, |(name, _)| name),
        None => host,
    };
    name.to_ascii_lowercase()
}

/// The refusal of a request to a host that is not ours. One that another server forwarded was checked there, and comes by a name that
/// is not for browsers.
pub(super) fn refusal(app: &App, request: &Request) -> Option<Problem> {
    // Other servers and probes use names of their own for health checks, and the answer is public.
    if matches!(request.extensions().get(), Some(Forwarded::Granted(_))) || request.uri().path() == "/livez" {
        return None;
    }
    let host = request.uri().host().or_else(|| request.headers().get(header::HOST).and_then(|value| value.to_str().ok()));
    if host.is_some_and(|host| app.hosts().allow(host)) {
        return None;
    }
    Some(Problem::new(Code::InvalidHost).with_detail("add the host to AGENTAPI_ALLOWED_HOSTS if it is this server's"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_match_without_port_brackets_or_case() {
        let hosts = AllowedHosts::new(&["localhost".to_owned(), "[::1]".to_owned(), "Example.com".to_owned()]);
        for allowed in ["localhost", "localhost:3284", "LOCALHOST:1", "[::1]", "[::1]:3284", "::1", "example.com"] {
            assert!(hosts.allow(allowed), "{allowed}");
        }
        for refused in ["", "evil.com", "localhost.evil.com", "example.com.", "127.0.0.1", "localhost:1:2"] {
            assert!(!hosts.allow(refused), "{refused}");
        }
        assert!(AllowedHosts::new(&["*".to_owned()]).allow("anything"));
    }
}
