//! `agentapi user create|list|passwd|disable|enable`

use std::io::{BufRead, IsTerminal};

use secrecy::SecretString;

use super::{Failure, end_sessions, open, operator};
use crate::config::Config;
use crate::domain::{Email, PasswordHash, PasswordRules, Slug, Tenant, TenantScope, User, UserId, UserRole};
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
    /// Give a user a new password, read from standard input, one line, and end its sessions
    Passwd {
        /// The tenant's short name
        tenant: Slug,
        /// The user's e-mail address
        email: Email,
    },
    /// Let a user log in no more, and end its sessions
    Disable {
        /// The tenant's short name
        tenant: Slug,
        /// The user's e-mail address
        email: Email,
    },
    /// Let a disabled user log in again
    Enable {
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
        Command::Create { tenant, email, role } => create(&opened.database, settings, &tenant, email, role).await,
        Command::List { tenant } => list(&opened.database, &tenant).await,
        Command::Passwd { tenant, email } => passwd(&opened.database, settings, &tenant, &email).await,
        Command::Disable { tenant, email } => disable(&opened.database, settings, &tenant, &email).await,
        Command::Enable { tenant, email } => enable(&opened.database, &tenant, &email).await,
    };
    opened.close().await?;
    result
}

async fn create(database: &Database, settings: &Config, tenant: &Slug, email: Email, role: UserRole) -> Result<(), Failure> {
    let found = find(database, tenant).await?;
    let scope = operator::scope(found.id);
    let new = NewUser { email: email.clone(), password: read_password(settings, &found, &email)?, role };
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

async fn passwd(database: &Database, settings: &Config, tenant: &Slug, email: &Email) -> Result<(), Failure> {
    let found = find(database, tenant).await?;
    let scope = operator::scope(found.id);
    let password = read_password(settings, &found, email)?;
    let user = known(database.users(scope).set_password(email, &password).await?, tenant, email)?;
    let ended = end_sessions::of_user(settings, scope.tenant(), user).await?;
    println!("the password of {email} is changed, and its {ended}");
    Ok(())
}

async fn disable(database: &Database, settings: &Config, tenant: &Slug, email: &Email) -> Result<(), Failure> {
    let scope = tenant_scope(database, tenant).await?;
    let user = known(database.users(scope).disable(email).await?, tenant, email)?;
    let ended = end_sessions::of_user(settings, scope.tenant(), user).await?;
    println!("{email} is disabled, and its {ended}");
    Ok(())
}

async fn enable(database: &Database, tenant: &Slug, email: &Email) -> Result<(), Failure> {
    let scope = tenant_scope(database, tenant).await?;
    known(database.users(scope).enable(email).await?, tenant, email)?;
    println!("{email} may log in");
    Ok(())
}

fn known(user: Option<UserId>, tenant: &Slug, email: &Email) -> Result<UserId, Failure> {
    Ok(user.ok_or_else(|| format!("tenant {tenant} has no user {email}"))?)
}

async fn tenant_scope(database: &Database, slug: &Slug) -> Result<TenantScope, Failure> {
    Ok(operator::scope(find(database, slug).await?.id))
}

async fn find(database: &Database, slug: &Slug) -> Result<Tenant, Failure> {
    Ok(database.tenants().find(slug).await?.ok_or_else(|| format!("there is no tenant {slug}"))?)
}

/// The hash of the password on standard input, if it may be that of this user. Not an argument: those can be read by every user of the
/// machine.
fn read_password(settings: &Config, tenant: &Tenant, email: &Email) -> Result<PasswordHash, Failure> {
    if std::io::stdin().is_terminal() {
        eprint!("password (will be shown): ");
    }
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line)?;
    let password = SecretString::from(line.trim_end_matches(['\r', '\n']).to_owned());
    let rules = PasswordRules::new(settings.server.password_min_length).of_user(&tenant.slug, &tenant.name, email);
    Ok(PasswordHash::of(&password, &rules)?)
}

fn print(user: &User) {
    let disabled = if user.disabled_at.is_some() { "\tdisabled" } else { "" };
    println!("{}\t{}\t{}{disabled}", user.id, user.email, user.role);
}
