//! Users and what they may do.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{Expected, TenantId, UserId};

/// Somebody of a tenant who can log in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The tenant it belongs to.
    pub tenant_id: TenantId,
    /// Its id.
    pub id: UserId,
    /// Its e-mail address, unique within the tenant.
    pub email: Email,
    /// What it may do.
    pub role: UserRole,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// Since when it may not log in, if it may not.
    pub disabled_at: Option<DateTime<Utc>>,
    /// How often all of its sessions were ended at once; those opened under a lower number are over.
    pub session_epoch: i64,
    /// The same of its tenant: how often the sessions of all its users were ended at once.
    pub tenant_epoch: i64,
}

/// What a user may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum UserRole {
    /// Works with its tenant's agents.
    Member,
    /// Also manages its tenant's users.
    Admin,
    /// Also manages tenants.
    Operator,
}

impl UserRole {
    /// The role's name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Member => "member",
            Self::Admin => "admin",
            Self::Operator => "operator",
        }
    }
}

impl FromStr for UserRole {
    type Err = Expected;

    fn from_str(text: &str) -> Result<Self, Expected> {
        [Self::Member, Self::Admin, Self::Operator]
            .into_iter()
            .find(|role| role.as_str() == text)
            .ok_or(Expected("member, admin or operator"))
    }
}

impl fmt::Display for UserRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An e-mail address, lower-cased, since people do not tell addresses apart by case.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Email(String);

impl Email {
    /// The address.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Email {
    type Err = Expected;

    fn from_str(text: &str) -> Result<Self, Expected> {
        let parts = text.rsplit_once('@').filter(|(local, domain)| !local.is_empty() && !domain.is_empty());
        let plain = text.len() <= 254 && !text.chars().any(|c| c.is_whitespace() || c.is_control());
        if parts.is_some() && plain {
            Ok(Self(text.to_lowercase()))
        } else {
            Err(Expected("an e-mail address of at most 254 bytes"))
        }
    }
}

impl From<Email> for String {
    fn from(email: Email) -> Self {
        email.0
    }
}

impl TryFrom<String> for Email {
    type Error = Expected;

    fn try_from(text: String) -> Result<Self, Expected> {
        text.parse()
    }
}

impl fmt::Display for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
