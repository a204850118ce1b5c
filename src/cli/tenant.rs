//! `agentapi tenant create|list|suspend|resume|limits`

use super::tenant_limits::{self, LimitsChange};
use super::{Failure, end_sessions, open, operator};
use crate::config::Config;
use crate::domain::{DisplayName, Slug, TenantId};
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
        name: Option<DisplayName>,
    },
    /// List all tenants
    List,
    /// Let nobody of a tenant log in, and end the sessions of its users
    Suspend {
        /// The tenant's short name
        slug: Slug,
    },
    /// Let the users of a suspended tenant log in again
    Resume {
        /// The tenant's short name
        slug: Slug,
    },
    /// Show a tenant's rate limits, or change those that are named; running servers follow within seconds
    Limits {
        /// The tenant's short name
        slug: Slug,
        #[command(flatten)]
        change: LimitsChange,
    },
}

/// Runs the command.
pub(super) async fn run(command: Command, settings: &Config) -> Result<(), Failure> {
    let opened = open::database(settings).await?;
    let result = match command {
        Command::Create { slug, name } => create(&opened.database, slug, name).await,
        Command::List => list(&opened.database).await,
        Command::Suspend { slug } => suspend(&opened.database, settings, &slug).await,
        Command::Resume { slug } => resume(&opened.database, &slug).await,
        Command::Limits { slug, change } => tenant_limits::run(&opened.database, &slug, &change).await,
    };
    opened.close().await?;
    result
}

async fn create(database: &Database, slug: Slug, name: Option<DisplayName>) -> Result<(), Failure> {
    let scope = operator::scope(TenantId::new());
    let name = name.map_or_else(|| slug.to_string(), String::from);
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
        let suspended = if tenant.suspended_at.is_some() { "\tsuspended" } else { "" };
        println!("{}\t{}\t{}{suspended}", tenant.id, tenant.slug, tenant.name);
    }
    Ok(())
}

async fn suspend(database: &Database, settings: &Config, slug: &Slug) -> Result<(), Failure> {
    let tenant = find(database, slug).await?;
    database.tenants().suspend(operator::scope(tenant)).await?;
    let ended = end_sessions::of_tenant(settings, database, tenant).await?;
    println!("tenant {slug} is suspended, and its users' {ended}");
    Ok(())
}

async fn resume(database: &Database, slug: &Slug) -> Result<(), Failure> {
    let tenant = find(database, slug).await?;
    database.tenants().resume(operator::scope(tenant)).await?;
    println!("the users of tenant {slug} may log in");
    Ok(())
}

async fn find(database: &Database, slug: &Slug) -> Result<TenantId, Failure> {
    Ok(database.tenants().find(slug).await?.ok_or_else(|| format!("there is no tenant {slug}"))?.id)
}
