//! `agentapi keys generate|rotate`

mod rotate;

use super::Failure;
use crate::config::Config;
use crate::domain::random_bytes;

/// What to do with keys.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Print a new key for `TOKEN_ENCRYPTION_KEY`
    Generate,
    /// Seal again, with the current key, what keys of `TOKEN_ENCRYPTION_KEYS_PREVIOUS` sealed. May run beside servers, and be stopped
    /// and run again
    Rotate,
}

/// Runs the command. `settings` are read only where they are needed: a key can be made before anything is set.
pub(super) async fn run(command: Command, settings: impl FnOnce() -> Result<Config, Failure>) -> Result<(), Failure> {
    match command {
        Command::Generate => {
            println!("{}", hex::encode(random_bytes::<32>()));
            Ok(())
        }
        Command::Rotate => rotate::run(&settings()?).await,
    }
}
