//! The token that is shown to a server that asks for one.

use std::path::Path;

use secrecy::SecretString;

use crate::cli::Failure;

const VARIABLE: &str = "AGENTAPI_TOKEN";
/// A larger file is no token.
const MAX_BYTES: u64 = 64 * 1024;

/// The token in the file, or else in the variable; none where neither is there.
pub(super) fn read(file: Option<&Path>) -> Result<Option<SecretString>, Failure> {
    let text = match file {
        Some(file) => {
            let failed = |error: &dyn std::fmt::Display| format!("the token cannot be read from {}: {error}", file.display());
            let found = std::fs::metadata(file).map_err(|error| failed(&error))?;
            if found.len() > MAX_BYTES {
                return Err(failed(&"it is too large").into());
            }
            std::fs::read_to_string(file).map_err(|error| failed(&error))?
        }
        None => std::env::var(VARIABLE).unwrap_or_default(),
    };
    let text = text.trim();
    if file.is_some() && text.is_empty() {
        return Err("the file of --token-file is empty".into());
    }
    Ok((!text.is_empty()).then(|| SecretString::from(text.to_owned())))
}
