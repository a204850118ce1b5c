//! What agents may be and do.

use std::path::PathBuf;

use ipnet::IpNet;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::section::Section;
use super::value;

/// What agents may be, how many, and what they get from the server's surroundings.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(default)]
pub struct Agent {
    /// Whether users may start any program as an agent (`type` `custom` with `command`).
    #[serde(rename = "agent_allow_custom_commands", deserialize_with = "value::boolean")]
    pub allow_custom_commands: bool,
    /// How long what an agent asks leave for waits for a user's answer, until it is denied.
    #[serde(rename = "agent_approval_timeout", with = "value::duration")]
    pub approval_timeout: Duration,
    /// Names of the server's variables that agents get too, such as `ANTHROPIC_API_KEY`; none of the server's own.
    #[serde(rename = "agent_env_passthrough", deserialize_with = "value::list")]
    pub env_passthrough: Vec<String>,
    /// Directory with one folder an agent type, copied into the home of a new agent; `@WORKSPACE@` in its files becomes the
    /// agent's working directory.
    #[serde(rename = "agent_home_template")]
    pub home_template: Option<PathBuf>,
    /// Agents that may live on this server at once, remote ones among them.
    #[serde(rename = "agent_max_running", deserialize_with = "value::whole::<_, 1, 10_000, _>")]
    pub max_running: usize,
    /// Networks beside the public internet in which remote agents may be.
    #[serde(rename = "agent_remote_allowed_networks", deserialize_with = "value::list")]
    pub remote_allowed_networks: Vec<IpNet>,
}

impl Default for Agent {
    fn default() -> Self {
        Self {
            allow_custom_commands: false,
            approval_timeout: Duration::from_secs(900),
            env_passthrough: Vec::new(),
            home_template: None,
            max_running: 100,
            remote_allowed_networks: Vec::new(),
        }
    }
}

impl Section for Agent {}
