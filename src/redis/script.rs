//! The scripts, one file each. `redis::Script` sends the digest, and the text only where Redis does not know it (yet, or any
//! more), so that a restarted Redis heals itself.

use std::sync::LazyLock;

use redis::Script;

/// Opens a session.
pub(super) static SESSION_CREATE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("lua/session_create_v1.lua")));

/// Counts requests in windows that begin with the first of them.
pub(super) static FIXED_WINDOW: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("lua/fixed_window_v2.lua")));

/// Counts requests in windows that slide.
pub(super) static SLIDING_WINDOW: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("lua/sliding_window_v1.lua")));

/// Takes tokens from buckets.
pub(super) static TOKEN_BUCKET: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("lua/token_bucket_v1.lua")));
