//! The `agentapi` program: reads the command line and runs one command.

use std::process::ExitCode;

/// Under load the C library's allocator has the runtime's threads wait for each other (`docs/adr/0016-an-allocator-for-threads.md`).
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

#[tokio::main]
async fn main() -> ExitCode {
    agentapi::cli::run().await
}
