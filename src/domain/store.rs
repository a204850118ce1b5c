//! What a store of hot data says when it cannot serve.

/// The store (Redis) did not answer, or not in time. Nothing is known of what was asked for.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the store is unavailable: {0}")]
pub struct StoreUnavailable(pub String);
