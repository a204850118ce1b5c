//! Why there is no answer. Nothing here says what was sent, and nothing of an answer's body: both may hold secrets.

use redis::{ErrorKind, RedisError};

/// Why an HTTP request to Upstash gave no answers to its commands.
#[derive(Debug, Clone, thiserror::Error)]
pub(super) enum Failure {
    #[error("no connection: {0}")]
    NoConnection(String),
    #[error("the connection broke: {0}")]
    Broken(String),
    #[error("no answer in time")]
    Late,
    #[error("the token is refused (HTTP {0}): check UPSTASH_REDIS_REST_TOKEN")]
    TokenRefused(u16),
    #[error("too many requests (HTTP 429)")]
    TooManyRequests,
    #[error("HTTP {0}")]
    Status(u16),
    #[error("HTTP {status}, but {what}")]
    Malformed { status: u16, what: &'static str },
    /// The request as a whole is refused, in the words of Redis.
    #[error("an error reply")]
    Reply(RedisError),
}

impl Failure {
    /// Whether the server is well all the same: it understood, and said no.
    pub(super) const fn is_answer(&self) -> bool {
        matches!(self, Self::Reply(_))
    }
}

impl From<Failure> for RedisError {
    fn from(failure: Failure) -> Self {
        let kind = match failure {
            Failure::Reply(error) => return error,
            Failure::TokenRefused(_) => ErrorKind::AuthenticationFailed,
            Failure::NoConnection(_)
            | Failure::Broken(_)
            | Failure::Late
            | Failure::TooManyRequests
            | Failure::Status(_)
            | Failure::Malformed { .. } => ErrorKind::Io,
        };
        Self::from((kind, "Upstash REST", failure.to_string()))
    }
}
