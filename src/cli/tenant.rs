//! `agentapi tenant create|list`

use super::{Failure, open, operator};
use crate::config::Config;
use crate::domain::{Slug, TenantId};
use crate::postgres::{Database, DatabaseError};

/// What to do with tenants.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Make a tenant
    Create {
        /// Short name to log in with: lower-case letters, digits and hyphens
        slug: Slug,
        /// Name for people; the short name unless told otherwise
        #[arg(long)]
        name: Option<String>,
    },
    /// List all tenants
    List,
}

/// Runs the command.
pub(super) async fn run(command: Command, settings: &Config) -> Result<(), Failure> {
    let opened = open::database(settings).await?;
    let result = match command {
        Command::Create { slug, name } => create(&opened.database, slug, name).await,
        Command::List => list(&opened.database).await,
    };
    opened.close().await?;
    result
}

async fn create(database: &Database, slug: Slug, name: Option<String>) -> Result<(), Failure> {
    let scope = operator::scope(TenantId::new());
    let name = name.unwrap_or_else(|| slug.to_string());
    match database.tenants().insert(scope, &slug, &name).await {
        Ok(tenant) => println!("{}\t{}\t{}", tenant.id, tenant.slug, tenant.name),
        Err(DatabaseError::Conflict(constraint)) if constraint == "tenants_slug_key" => {
            return Err(format!("there is a tenant {slug} already").into());
        }
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

async fn list(database: &Database) -> Result<(), Failure> {
    for tenant in database.tenants().list().await? {
        println!("{}\t{}\t{}", tenant.id, tenant.slug, tenant.name);
    }
    Ok(())
}
