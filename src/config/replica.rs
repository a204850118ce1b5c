//! Being one of several servers.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, de};
use url::Url;

use super::error::Problem;
use super::section::Section;
use super::value;
use crate::domain::AllowedAddress;

/// Where the servers of a deployment are, unless they reach each other over the public internet: this machine, and private networks
/// (RFC 1918, RFC 6598, RFC 4193).
const PRIVATE_NETWORKS: [&str; 7] =
    ["127.0.0.0/8", "::1/128", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7"];

/// How this server and those that share its Redis and Postgres find each other.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(default)]
pub struct Replica {
    /// Where the other servers reach this one; unset, by the address it listens on, or its host name if that is every address.
    #[serde(rename = "agentapi_replica_url", deserialize_with = "origin")]
    pub url: Option<String>,
    /// Networks and names of hosts at which other servers may be, beside this server's own host.
    #[serde(rename = "agentapi_replica_allowed_addresses", deserialize_with = "value::list")]
    pub allowed_addresses: Vec<AllowedAddress>,
    /// Time between two heartbeats.
    #[serde(rename = "agentapi_heartbeat_interval", with = "value::duration")]
    pub heartbeat: Duration,
    /// Time without a heartbeat after which a server that does not answer either is deregistered; unset, five intervals.
    #[serde(rename = "agentapi_heartbeat_timeout", with = "value::optional_duration")]
    pub timeout: Option<Duration>,
}

/// Intervals in the default timeout.
const TIMEOUT_INTERVALS: u32 = 5;

/// Least number of intervals in a timeout: a lease lasts two intervals less.
const MIN_TIMEOUT_INTERVALS: u32 = 4;

/// The longest timeout: for so long the agents of a failed server cannot be reached.
const MAX_TIMEOUT: Duration = Duration::from_hours(1);

impl Replica {
    /// Time without a heartbeat after which a server that does not answer either is deregistered.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        self.timeout.unwrap_or(self.heartbeat * TIMEOUT_INTERVALS)
    }
}

impl Default for Replica {
    fn default() -> Self {
        let networks = PRIVATE_NETWORKS.iter().filter_map(|network| network.parse().ok());
        Self { url: None, allowed_addresses: networks.collect(), heartbeat: Duration::from_secs(2), timeout: None }
    }
}

impl Section for Replica {
    fn check(&self, problems: &mut Vec<Problem>) {
        if !(Duration::from_millis(100)..=Duration::from_secs(60)).contains(&self.heartbeat) {
            let shown = format!("{}ms", self.heartbeat.as_millis());
            problems.push(Problem::new("AGENTAPI_HEARTBEAT_INTERVAL", &shown, "a duration from 100ms to 60s"));
            return;
        }
        let shortest = self.heartbeat * MIN_TIMEOUT_INTERVALS;
        if let Some(timeout) = self.timeout.filter(|timeout| !(shortest..=MAX_TIMEOUT).contains(timeout)) {
            let shown = format!("{}ms", timeout.as_millis());
            let expected = format!("four times AGENTAPI_HEARTBEAT_INTERVAL ({}ms) or more, up to 1h", shortest.as_millis());
            problems.push(Problem::new("AGENTAPI_HEARTBEAT_TIMEOUT", &shown, expected));
        }
    }
}

/// The origin of an HTTP URL that has nothing else.
fn origin<'de, D: Deserializer<'de>>(d: D) -> Result<Option<String>, D::Error> {
    let text = String::deserialize(d)?;
    let url = Url::parse(&text).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
    let origin = url.as_ref().map(|url| url.origin().ascii_serialization());
    // A user, a path or a query would be part of what is left.
    let bare = origin.filter(|origin| url.is_some_and(|url| url.as_str().trim_end_matches('/') == origin));
    let expected = "expected the URL of a server and nothing else, such as http://10.0.0.5:3284";
    bare.map(Some).ok_or_else(|| de::Error::custom(expected))
}
