//! `agentapi user create|list|passwd`

use std::io::{BufRead, IsTerminal};

use secrecy::SecretString;

use super::{Failure, open, operator};
use crate::config::Config;
use crate::domain::{Email, PasswordHash, Slug, TenantScope, User, UserRole};
use crate::postgres::{Database, DatabaseError, NewUser};

/// What to do with users.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Make a user; its password is read from standard input, one line
    Create {
        /// The tenant's short name
        tenant: Slug,
        /// The user's e-mail address
        email: Email,
        /// member, admin (of the tenant) or operator (of the server)
        #[arg(long, default_value = "member")]
        role: UserRole,
    },
    /// List a tenant's users
    List {
        /// The tenant's short name
        tenant: Slug,
    },
    /// Give a user a new password, read from standard input, one line
    Passwd {
        /// The tenant's short name
        tenant: Slug,
        /// The user's e-mail address
        email: Email,
    },
}

/// Runs the command.
pub(super) async fn run(command: Command, settings: &Config) -> Result<(), Failure> {
    let opened = open::database(settings).await?;
    let result = match command {
        Command::Create { tenant, email, role } => create(&opened.database, &tenant, email, role).await,
        Command::List { tenant } => list(&opened.database, &tenant).await,
        Command::Passwd { tenant, email } => passwd(&opened.database, &tenant, &email).await,
    };
    opened.close().await?;
    result
}

async fn create(database: &Database, tenant: &Slug, email: Email, role: UserRole) -> Result<(), Failure> {
    let scope = tenant_scope(database, tenant).await?;
    let new = NewUser { email: email.clone(), password: read_password()?, role };
    match database.users(scope).insert(&new).await {
        Ok(user) => print(&user),
        Err(DatabaseError::Conflict(constraint)) if constraint == "users_email_key" => {
            return Err(format!("tenant {tenant} has a user {email} already").into());
        }
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

async fn list(database: &Database, tenant: &Slug) -> Result<(), Failure> {
    let scope = tenant_scope(database, tenant).await?;
    database.users(scope).list().await?.iter().for_each(print);
    Ok(())
}

async fn passwd(database: &Database, tenant: &Slug, email: &Email) -> Result<(), Failure> {
    let scope = tenant_scope(database, tenant).await?;
    let password = read_password()?;
    let changed = database.users(scope).set_password(email, &password).await?;
    changed.ok_or_else(|| format!("tenant {tenant} has no user {email}"))?;
    println!("the password of {email} is changed");
    Ok(())
}

async fn tenant_scope(database: &Database, slug: &Slug) -> Result<TenantScope, Failure> {
    let tenant = database.tenants().find(slug).await?.ok_or_else(|| format!("there is no tenant {slug}"))?;
    Ok(operator::scope(tenant.id))
}

/// The hash of the password on standard input. Not an argument: those can be read by every user of the machine.
fn read_password() -> Result<PasswordHash, Failure> {
    if std::io::stdin().is_terminal() {
        eprint!("password (will be shown): ");
    }
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line)?;
    let password = SecretString::from(line.trim_end_matches(['\r', '\n']).to_owned());
    Ok(PasswordHash::of(&password)?)
}

fn print(user: &User) {
    println!("{}\t{}\t{}", user.id, user.email, user.role);
}
