//! What a caller came by.

use super::{ApiKeyId, SessionId};

/// What a caller showed, by its id: no more than that can be told of it, in logs and to other servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Credential {
    /// A session: somebody logged in.
    Session(SessionId),
    /// An API key: a machine that acts for who made the key.
    ApiKey(ApiKeyId),
}
