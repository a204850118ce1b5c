//! Listening address, data directory, and who may call.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use super::error::Problem;
use super::section::Section;
use super::value;
use crate::domain::{PasswordHash, PasswordRules};

/// Where the server listens, where it keeps its files, and which callers it believes.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(default)]
pub struct Server {
    /// Address to listen on: this machine only, unless told otherwise.
    #[serde(rename = "agentapi_host", deserialize_with = "ip_address")]
    pub host: IpAddr,
    /// Port to listen on; 0 takes a free one.
    #[serde(rename = "agentapi_port", deserialize_with = "value::whole::<_, 0, 65535, _>")]
    pub port: u16,
    /// Directory for what the server keeps on disk: the embedded Postgres, a generated key, the agents' workspaces.
    #[serde(rename = "agentapi_data_dir")]
    pub data_dir: PathBuf,
    /// Names that a request's `Host` may have, without port; `*` for any. Guards browsers against DNS rebinding.
    #[serde(rename = "agentapi_allowed_hosts", deserialize_with = "value::list")]
    pub allowed_hosts: Vec<String>,
    /// Origins whose pages may call from a browser (CORS); `*` for any.
    #[serde(rename = "agentapi_allowed_origins", deserialize_with = "value::list")]
    pub allowed_origins: Vec<String>,
    /// Networks of reverse proxies whose `X-Forwarded-For` is believed.
    #[serde(deserialize_with = "value::list")]
    pub trusted_proxies: Vec<IpNet>,
    /// Connections of clients that are open at most; unset: 10000, or fewer where the limit of open files leaves no room for as many.
    #[serde(rename = "agentapi_max_connections", deserialize_with = "value::optional_whole::<_, 16, 1_000_000, _>")]
    pub max_connections: Option<usize>,
    /// The same of one address (IPv6: of one /64) that is not a trusted proxy's; unset: a tenth of all.
    #[serde(rename = "agentapi_max_connections_per_address", deserialize_with = "value::optional_whole::<_, 1, 1_000_000, _>")]
    pub max_connections_per_address: Option<usize>,
    /// Password of the first operator, `admin@localhost`, made on an empty database; random and printed if unset.
    #[serde(rename = "agentapi_admin_password", with = "value::secret")]
    pub admin_password: Option<SecretString>,
    /// Characters that a new password has at least.
    #[serde(rename = "agentapi_password_min_length", deserialize_with = "value::whole::<_, 8, 64, _>")]
    pub password_min_length: usize,
    /// How long a stopping server waits for requests and agents to end.
    #[serde(rename = "agentapi_shutdown_timeout", with = "value::duration")]
    pub shutdown_timeout: Duration,
}

impl Default for Server {
    fn default() -> Self {
        let own = |items: &[&str]| items.iter().map(|&item| item.to_owned()).collect();
        Self {
            host: IpAddr::V4(Ipv4Addr::LOCALHOST),
            port: 3284,
            data_dir: default_data_dir(),
            allowed_hosts: own(&["localhost", "127.0.0.1", "[::1]"]),
            allowed_origins: own(&["http://localhost:3284", "http://localhost:3000", "http://localhost:3001"]),
            trusted_proxies: Vec::new(),
            max_connections: None,
            max_connections_per_address: None,
            admin_password: None,
            password_min_length: PasswordRules::DEFAULT_MIN_CHARS,
            shutdown_timeout: Duration::from_secs(15),
        }
    }
}

impl Server {
    /// The address to listen on.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        SocketAddr::new(self.host, self.port)
    }
}

impl Section for Server {
    const SECRETS: &'static [&'static str] = &["AGENTAPI_ADMIN_PASSWORD"];

    fn check(&self, problems: &mut Vec<Problem>) {
        // The other rules are for a password that is set, which this one is on an empty database only.
        let fits = |password: &SecretString| password.expose_secret().len() <= PasswordHash::MAX_BYTES;
        if !self.admin_password.as_ref().is_none_or(fits) {
            problems.push(Problem::new("AGENTAPI_ADMIN_PASSWORD", value::MASK, "at most 1024 bytes"));
        }
    }
}

/// `/var/lib/agentapi` for root, whose home other users (the embedded Postgres runs as one) cannot enter; else the user's
/// data directory by the XDG base directory specification.
fn default_data_dir() -> PathBuf {
    if rustix::process::geteuid().is_root() {
        return PathBuf::from("/var/lib/agentapi");
    }
    let home = || std::env::var_os("HOME").map_or_else(std::env::temp_dir, PathBuf::from);
    std::env::var_os("XDG_DATA_HOME").map_or_else(|| home().join(".local/share"), PathBuf::from).join("agentapi")
}

fn ip_address<'de, D: serde::Deserializer<'de>>(d: D) -> Result<IpAddr, D::Error> {
    let text = String::deserialize(d)?;
    text.parse().map_err(|_| serde::de::Error::custom("expected an IP address such as 127.0.0.1, 0.0.0.0 or ::"))
}
