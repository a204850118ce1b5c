//! The scripts, one file each. `redis::Script` sends the digest, and the text only where Redis does not know it (yet, or any
//! more), so that a restarted Redis heals itself.

use std::sync::LazyLock;

use redis::Script;

/// Opens a session.
pub(super) static SESSION_CREATE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("lua/session_create_v1.lua")));

/// Counts a request.
pub(super) static FIXED_WINDOW: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("lua/fixed_window_v1.lua")));
