//! `agentapi openapi`

use std::io::Write;

use super::Failure;
use crate::http::openapi_document;

/// Prints the OpenAPI document.
pub(super) fn run() -> Result<(), Failure> {
    writeln!(std::io::stdout().lock(), "{}", openapi_document().to_pretty_json()?)?;
    Ok(())
}
