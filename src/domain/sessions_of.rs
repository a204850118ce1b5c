//! Whose sessions are meant.

use std::fmt;
use std::str::FromStr;

use super::{Expected, TenantId, UserId};

/// The sessions of one user, or of everybody of a tenant. Written `tenant/user` or `tenant`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SessionsOf {
    /// Everybody's of a tenant.
    Tenant(TenantId),
    /// One user's of a tenant.
    User(TenantId, UserId),
}

impl SessionsOf {
    /// The tenant.
    #[must_use]
    pub const fn tenant(&self) -> TenantId {
        match *self {
            Self::Tenant(tenant) | Self::User(tenant, _) => tenant,
        }
    }

    /// Whether a user's sessions are among them.
    #[must_use]
    pub fn include(&self, tenant: TenantId, user: UserId) -> bool {
        match *self {
            Self::Tenant(its) => its == tenant,
            Self::User(its, one) => (its, one) == (tenant, user),
        }
    }
}

impl fmt::Display for SessionsOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tenant(tenant) => write!(f, "{tenant}"),
            Self::User(tenant, user) => write!(f, "{tenant}/{user}"),
        }
    }
}

impl FromStr for SessionsOf {
    type Err = Expected;

    fn from_str(text: &str) -> Result<Self, Expected> {
        match text.split_once('/') {
            Some((tenant, user)) => Ok(Self::User(tenant.parse()?, user.parse()?)),
            None => text.parse().map(Self::Tenant),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_read_as_it_is_written_and_includes_whom_it_names() {
        let (tenant, user) = (TenantId::new(), UserId::new());
        for whose in [SessionsOf::Tenant(tenant), SessionsOf::User(tenant, user)] {
            assert_eq!(whose.to_string().parse(), Ok(whose));
            assert!(whose.include(tenant, user) && !whose.include(TenantId::new(), user));
        }
        assert!(SessionsOf::Tenant(tenant).include(tenant, UserId::new()));
        assert!(!SessionsOf::User(tenant, user).include(tenant, UserId::new()));
        assert!("nobody".parse::<SessionsOf>().is_err());
    }
}
