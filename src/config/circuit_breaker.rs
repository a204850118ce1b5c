//! Circuit breakers around outgoing calls.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::section::Section;
use super::value;

/// When a circuit opens and closes.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(default)]
pub struct CircuitBreaker {
    /// Whether outgoing calls are guarded.
    #[serde(rename = "circuit_breaker_enabled", deserialize_with = "value::boolean")]
    pub enabled: bool,
    /// Failures in a row that open a circuit.
    #[serde(rename = "circuit_breaker_failure_threshold", deserialize_with = "value::whole::<_, 1, 10_000, _>")]
    pub failure_threshold: u32,
    /// Successes of a half-open circuit that close it.
    #[serde(rename = "circuit_breaker_success_threshold", deserialize_with = "value::whole::<_, 1, 10_000, _>")]
    pub success_threshold: u32,
    /// How long a circuit stays open before it is tried again.
    #[serde(rename = "circuit_breaker_timeout", with = "value::duration")]
    pub timeout: Duration,
}

impl Default for CircuitBreaker {
    fn default() -> Self {
        Self { enabled: true, failure_threshold: 5, success_threshold: 2, timeout: Duration::from_secs(30) }
    }
}

impl Section for CircuitBreaker {}
