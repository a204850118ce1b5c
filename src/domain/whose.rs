//! Whose something is: a tenant's, or one user's.

use std::fmt;
use std::str::FromStr;

use super::{Expected, TenantId, UserId};

/// One user of a tenant, or everybody of it: whose sessions end, of whom what is cached is old. Written `tenant/user` or `tenant`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Whose {
    /// Everybody of a tenant, and the tenant itself.
    Tenant(TenantId),
    /// One user of a tenant.
    User(TenantId, UserId),
}

impl Whose {
    /// The tenant.
    #[must_use]
    pub const fn tenant(&self) -> TenantId {
        match *self {
            Self::Tenant(tenant) | Self::User(tenant, _) => tenant,
        }
    }

    /// Whether a user is among them.
    #[must_use]
    pub fn include(&self, tenant: TenantId, user: UserId) -> bool {
        match *self {
            Self::Tenant(its) => its == tenant,
            Self::User(its, one) => (its, one) == (tenant, user),
        }
    }
}

impl fmt::Display for Whose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tenant(tenant) => write!(f, "{tenant}"),
            Self::User(tenant, user) => write!(f, "{tenant}/{user}"),
        }
    }
}

impl FromStr for Whose {
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
        for whose in [Whose::Tenant(tenant), Whose::User(tenant, user)] {
            assert_eq!(whose.to_string().parse(), Ok(whose));
            assert!(whose.include(tenant, user) && !whose.include(TenantId::new(), user));
        }
        assert!(Whose::Tenant(tenant).include(tenant, UserId::new()));
        assert!(!Whose::User(tenant, user).include(tenant, UserId::new()));
        assert!("nobody".parse::<Whose>().is_err());
    }
}
