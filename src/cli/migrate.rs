//! `agentapi migrate`

use super::{Failure, open};
use crate::config::Config;

/// Brings the tables up to date.
pub(super) async fn run(settings: &Config) -> Result<(), Failure> {
    open::database(settings).await?.close().await?;
    println!("the database is up to date");
    Ok(())
}
