//! Log level and format.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::section::Section;
use super::value;

/// What is logged, and how.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(default)]
pub struct Log {
    /// Level, or a filter as of `tracing_subscriber::EnvFilter`: `info`, `agentapi=debug,sqlx=warn`.
    #[serde(rename = "log_level", deserialize_with = "value::parsed")]
    pub level: LogLevel,
    /// One JSON object a line, or text.
    #[serde(rename = "log_format")]
    pub format: LogFormat,
}

/// A filter that is known to parse.
#[derive(Debug, Clone, Serialize)]
pub struct LogLevel(String);

impl LogLevel {
    /// The filter's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for LogLevel {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match tracing_subscriber::EnvFilter::builder().parse(text) {
            Ok(_) => Ok(Self(text.to_owned())),
            Err(_) => Err("off, error, warn, info, debug, trace, or a filter such as agentapi=debug,warn"),
        }
    }
}

/// Format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// One JSON object a line, for log collectors.
    Json,
    /// For people.
    Text,
}

impl Default for Log {
    fn default() -> Self {
        Self { level: LogLevel("info".to_owned()), format: LogFormat::Text }
    }
}

impl Section for Log {}
