//! The guard against DNS rebinding, with the rules and texts of coder/agentapi.

use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use url::{Host, Url};

use super::{SingleAgent, list, plain};
use crate::http::host::bare;

/// The hosts that a request may name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AllowedHosts {
    /// Any.
    Any,
    /// These names and addresses, without port and brackets, in lower case.
    Only(Vec<String>),
}

impl AllowedHosts {
    /// Reads a list of hosts; `*` among them allows any.
    ///
    /// # Errors
    /// What is wrong with which of them.
    pub fn parse(items: &[String]) -> Result<Self, String> {
        list::check(items)?;
        if items.iter().any(|item| item == "*") {
            return Ok(Self::Any);
        }
        if let Some(item) = items.iter().find(|item| item.contains("http://") || item.contains("https://")) {
            return Err(format!("'{item}' must not include http:// or https://"));
        }
        items.iter().map(|item| host(item)).collect::<Result<_, _>>().map(Self::Only)
    }

    fn allow(&self, host: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Only(hosts) => hosts.contains(&bare(host)),
        }
    }

    fn refuse(&self) -> Response {
        let allowed = match self {
            Self::Any => "*".to_owned(),
            Self::Only(hosts) => hosts.join(", "),
        };
        plain(StatusCode::BAD_REQUEST, format!("Invalid host header. Allowed hosts: {allowed}\n"))
    }
}

/// One host of the list, as it is compared.
fn host(item: &str) -> Result<String, String> {
    // An address without brackets reads as a name and a port.
    let after_brackets = item.rsplit_once(']').map_or(item, |(_, rest)| rest);
    let is_unfinished = item.starts_with('[') && !item.contains(']');
    if !is_unfinished
        && let Some((_, port)) = after_brackets.rsplit_once(':')
        && !port.is_empty()
        && port.bytes().all(|byte| byte.is_ascii_digit())
    {
        return Err(format!("'{item}' must not include a port"));
    }
    let invalid = |why: &str| format!("'{item}' is not a valid host: {why}");
    if item.contains(['/', '?', '#', '@', '\\']) {
        return Err(invalid("expected a name or an address alone"));
    }
    let url = Url::parse(&format!("http://{item}")).map_err(|error| invalid(&error.to_string()))?;
    match url.host() {
        Some(Host::Ipv6(_)) => Ok(bare(item)),
        Some(_) => Ok(item.to_lowercase()),
        None => Err(invalid("it is empty")),
    }
}

/// Refuses requests to hosts that are not ours.
pub(super) async fn check_host(State(app): State<SingleAgent>, request: Request, next: Next) -> Response {
    let host = request.uri().host().or_else(|| request.headers().get(header::HOST).and_then(|value| value.to_str().ok()));
    if app.hosts == AllowedHosts::Any || host.is_some_and(|host| app.hosts.allow(host)) {
        return next.run(request).await;
    }
    app.hosts.refuse()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(items: &[&str]) -> Result<AllowedHosts, String> {
        AllowedHosts::parse(&items.iter().map(|&item| item.to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn lists_are_read_by_the_rules_of_the_reference() {
        let only = |hosts: &[&str]| Ok(AllowedHosts::Only(hosts.iter().map(|&host| host.to_owned()).collect()));
        assert_eq!(parse(&["localhost", "127.0.0.1", "[::1]"]), only(&["localhost", "127.0.0.1", "::1"]));
        assert_eq!(parse(&["Example.COM", "a_b.test"]), only(&["example.com", "a_b.test"]));
        for any in [&["*"][..], &["*", "bad host"], &["https://x", "*"]] {
            assert_eq!(parse(any), Ok(AllowedHosts::Any));
        }
        for (items, expected) in [
            (&[][..], "the list must not be empty"),
            (&["ok", "a b"], "'a b' contains whitespace characters, which are not allowed"),
            (&["a\u{a0}b"], "'a\u{a0}b' contains whitespace characters, which are not allowed"),
            (&["a,b"], "'a,b' contains comma characters, which are not allowed"),
            (&["a b,c"], "'a b,c' contains whitespace characters, which are not allowed"),
            (&["http://localhost"], "'http://localhost' must not include http:// or https://"),
            (&["https://localhost"], "'https://localhost' must not include http:// or https://"),
            (&["localhost:3284"], "'localhost:3284' must not include a port"),
            (&["[::1]:3284"], "'[::1]:3284' must not include a port"),
            (&["::1"], "'::1' must not include a port"),
        ] {
            assert_eq!(parse(items), Err(expected.to_owned()));
        }
        for item in ["", "[::1", "a:b", "a/b", "a@b", "[x]"] {
            let error = parse(&[item]).expect_err(item);
            assert!(error.starts_with(&format!("'{item}' is not a valid host: ")), "{error}");
        }
    }

    #[test]
    fn a_request_is_compared_without_port_brackets_and_case() {
        let hosts = parse(&["localhost", "[::1]", "Example.com"]).expect("valid");
        for allowed in ["localhost", "LOCALHOST:1", "[::1]:3284", "example.com:80"] {
            assert!(hosts.allow(allowed), "{allowed}");
        }
        for refused in ["", "evil.com", "example.com.", "localhost.evil.com", "127.0.0.1"] {
            assert!(!hosts.allow(refused), "{refused}");
        }
    }
}
