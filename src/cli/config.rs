//! `agentapi config`

use std::io::Write;

use super::Failure;
use crate::config::Config;

/// Prints every variable with its effective value, as lines that a shell or a `.env` file takes.
pub(super) fn run(settings: &Config) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    for (variable, value) in settings.show() {
        writeln!(out, "{variable}={value}")?;
    }
    Ok(())
}
