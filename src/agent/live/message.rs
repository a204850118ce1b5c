//! What a user says to an agent, checked.

use super::super::typing;
use super::SendError;

/// Largest user message or piece of raw input, in bytes.
pub(super) const MAX_TEXT: usize = 64 * 1024;

/// The white space that the protocol trims.
pub(super) fn trim_ascii(text: &str) -> &str {
    text.trim_matches([' ', '\t', '\n', '\r', '\x0c', '\x0b'])
}

/// A user message as it is sent and stored.
///
/// # Errors
/// [`SendError::Empty`] or [`SendError::TooLong`].
pub(in crate::agent) fn user_message(text: &str) -> Result<&str, SendError> {
    let text = trim_ascii(text);
    check_message(text)?;
    Ok(text)
}

pub(super) fn check_message(text: &str) -> Result<(), SendError> {
    if text.len() > MAX_TEXT {
        Err(SendError::TooLong)
    } else if typing::typeable(text).trim().is_empty() {
        Err(SendError::Empty)
    } else {
        Ok(())
    }
}
