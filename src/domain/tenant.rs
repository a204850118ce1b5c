//! Tenants, and the proof that one was authenticated.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{Expected, TenantId};

/// An organisation that shares nothing with any other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tenant {
    /// Its id.
    pub id: TenantId,
    /// Its short name, used to log in.
    pub slug: Slug,
    /// Its name, for people.
    pub name: String,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// Since when nobody of it may log in, if nobody may.
    pub suspended_at: Option<DateTime<Utc>>,
    /// How often all sessions of its users were ended at once; those opened under a lower number are over.
    pub session_epoch: i64,
}

/// A tenant's short name: 1 to 63 lower-case letters, digits and inner hyphens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Slug(String);

impl Slug {
    /// The slug's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Slug {
    type Err = Expected;

    fn from_str(text: &str) -> Result<Self, Expected> {
        let plain = text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        let inner = !text.starts_with('-') && !text.ends_with('-');
        if plain && inner && (1..=63).contains(&text.len()) {
            Ok(Self(text.to_owned()))
        } else {
            Err(Expected("1 to 63 lower-case letters, digits and inner hyphens"))
        }
    }
}

impl From<Slug> for String {
    fn from(slug: Slug) -> Self {
        slug.0
    }
}

impl TryFrom<String> for Slug {
    type Error = Expected;

    fn try_from(text: String) -> Result<Self, Expected> {
        text.parse()
    }
}

impl fmt::Display for Slug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The tenant whose rows a query may see. Each query on tenants' tables takes one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TenantScope(TenantId);

impl TenantScope {
    /// Vouches that the caller may act for `tenant`: because a session token said so, or because an operator at the command
    /// line did. A lint keeps calls to the few places that may vouch.
    #[must_use]
    pub const fn assume_verified(tenant: TenantId) -> Self {
        Self(tenant)
    }

    /// The tenant.
    #[must_use]
    pub const fn tenant(&self) -> TenantId {
        self.0
    }
}
