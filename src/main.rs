//! The `agentapi` program: reads the command line and runs one command.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    agentapi::cli::run().await
}
