//! The tests' look-alike of Upstash's REST API, before a Redis.

use std::io::Write;

use super::Failure;
use super::child::{Child, end_with_parent};
use super::support::Upstash;

/// Starts one before the Redis at `url`.
pub(crate) fn start(url: &str) -> Result<Child, Failure> {
    Child::start(&["--look-alike", url])
}

/// Is one before the Redis at `url`.
pub(crate) fn serve(url: &str) -> Result<(), Failure> {
    end_with_parent();
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
        let upstash = Upstash::before(url).await;
        writeln!(std::io::stdout(), "{}", upstash.url().trim_start_matches("http://"))?;
        std::future::pending().await
    })
}
