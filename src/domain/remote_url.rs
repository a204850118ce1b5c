//! Where a remote agent is.

use std::fmt;
use std::str::FromStr;

use url::Url;

use super::Expected;

/// Longest URL that is taken, in bytes.
const MAX_BYTES: usize = 2048;

/// The URL of an `AgentAPI` server, below which its routes are: `https://agent.example:3284`, or with a path,
/// `https://agents.example/v1/agents/{id}`. Holds no secret: neither credentials nor a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteUrl(String);

impl RemoteUrl {
    /// The URL of the route `path`, which begins with a slash.
    #[must_use]
    pub fn route(&self, path: &str) -> String {
        format!("{}{path}", self.0)
    }

    /// The URL, without a slash at its end.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RemoteUrl {
    type Err = Expected;

    fn from_str(text: &str) -> Result<Self, Expected> {
        const EXPECTED: Expected =
            Expected("http://host[:port][/path] or https://…, without credentials, query or fragment, of at most 2048 bytes");
        let url = Url::parse(text).map_err(|_| EXPECTED)?;
        let plain = matches!(url.scheme(), "http" | "https")
            && url.host_str().is_some_and(|host| !host.is_empty())
            && url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none();
        let url = url.as_str().trim_end_matches('/');
        if plain && url.len() <= MAX_BYTES { Ok(Self(url.to_owned())) } else { Err(EXPECTED) }
    }
}

impl fmt::Display for RemoteUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Option<String> {
        text.parse().ok().map(|url: RemoteUrl| url.as_str().to_owned())
    }

    #[test]
    fn urls_of_servers_are_taken_with_their_paths() {
        for (text, expected) in [
            ("https://agent.example", "https://agent.example"),
            ("HTTP://Agent.Example:3284/", "http://agent.example:3284"),
            ("https://agents.example:443/v1/agents/0190/", "https://agents.example/v1/agents/0190"),
            ("http://[2001:db8::1]:3284", "http://[2001:db8::1]:3284"),
            // However an address is written, it is one: what is checked is what is called.
            ("http://0x7f.1/", "http://127.0.0.1"),
            ("http://2130706433", "http://127.0.0.1"),
        ] {
            assert_eq!(parsed(text).as_deref(), Some(expected), "{text}");
        }
        let url: RemoteUrl = "http://a.example/b/".parse().unwrap();
        assert_eq!(url.route("/status"), "http://a.example/b/status");
    }

    #[test]
    fn what_could_hold_a_secret_or_is_no_http_is_refused() {
        for text in [
            "",
            "agent.example:3284",
            "ftp://agent.example",
            "file:///etc/passwd",
            "http://user@agent.example",
            "http://user:secret@agent.example",
            "http://agent.example/?token=secret",
            "http://agent.example/?",
            "http://agent.example/#x",
            "http://agent.example:99999",
            "http://",
            &format!("http://agent.example/{}", "x".repeat(2048)),
        ] {
            assert_eq!(parsed(text), None, "{text}");
        }
    }
}
