//! The first operator: without one, nobody could log in to an empty database.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret, SecretString};

use super::operator;
use crate::cli::Failure;
use crate::domain::{Email, PasswordHash, PasswordRules, Slug, TenantId, UserRole, random_bytes};
use crate::postgres::{Database, DatabaseError, NewUser};

const TENANT: &str = "default";
const TENANT_NAME: &str = "Default";
const EMAIL: &str = "admin@localhost";

/// The operator that was just made.
pub(super) struct FirstOperator {
    /// Its password, if nobody knows it yet.
    generated: Option<SecretString>,
}

/// Makes tenant `default` with operator `admin@localhost`, if there is no tenant at all. `password`, if it is given, meets `rules`.
pub(super) async fn make(
    database: &Database,
    password: Option<&SecretString>,
    rules: PasswordRules,
) -> Result<Option<FirstOperator>, Failure> {
    if !database.tenants().list().await?.is_empty() {
        return Ok(None);
    }
    let generated = password.is_none().then(|| SecretString::from(URL_SAFE_NO_PAD.encode(random_bytes::<18>())));
    let password = password.or(generated.as_ref()).ok_or("no password")?;
    let (slug, email): (Slug, Email) = (TENANT.parse()?, EMAIL.parse()?);
    let rules = rules.of_user(&slug, TENANT_NAME, &email);
    let hash = PasswordHash::of(password, &rules).map_err(|rejected| format!("AGENTAPI_ADMIN_PASSWORD: {rejected}"))?;
    let new = NewUser { email, password: hash, role: UserRole::Operator };
    let scope = operator::scope(TenantId::new());
    match database.tenants().insert(scope, &slug, TENANT_NAME).await {
        Ok(_) => {}
        // Another replica was a moment earlier, and has told of it.
        Err(DatabaseError::Conflict(_)) => return Ok(None),
        Err(error) => return Err(error.into()),
    }
    database.users(scope).insert(&new).await?;
    Ok(Some(FirstOperator { generated }))
}

impl FirstOperator {
    /// What is printed, once.
    pub(super) fn how_to_log_in(&self, url: &str) -> String {
        let login = |password: &str| {
            format!(
                "  curl -s {url}/v1/auth/login -H 'Content-Type: application/json' \\\n    \
                 -d '{{\"tenant\":\"{TENANT}\",\"email\":\"{EMAIL}\",\"password\":\"{password}\"}}'"
            )
        };
        match &self.generated {
            Some(password) => {
                let password = password.expose_secret();
                format!(
                    "\nThe database was empty: made tenant {TENANT} with operator {EMAIL}.\n\
                     Its password, shown this once: {password}\n\nLog in:\n\n{}\n",
                    login(password)
                )
            }
            None => format!(
                "\nThe database was empty: made tenant {TENANT} with operator {EMAIL}, whose password is AGENTAPI_ADMIN_PASSWORD.\n\n\
                 Log in:\n\n{}\n",
                login("'\"$AGENTAPI_ADMIN_PASSWORD\"'")
            ),
        }
    }
}
