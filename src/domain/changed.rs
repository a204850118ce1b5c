//! What was changed.

use std::fmt;
use std::str::FromStr;

use super::{Expected, TenantId, UserId};

/// The row of a tenant, or of one of its users, was changed: what is cached of it is old. Written `tenant` or `tenant/user`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Changed {
    /// A tenant.
    Tenant(TenantId),
    /// A user of a tenant.
    User(TenantId, UserId),
}

impl fmt::Display for Changed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tenant(tenant) => write!(f, "{tenant}"),
            Self::User(tenant, user) => write!(f, "{tenant}/{user}"),
        }
    }
}

impl FromStr for Changed {
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
    fn is_read_as_it_is_written() {
        let (tenant, user) = (TenantId::new(), UserId::new());
        for changed in [Changed::Tenant(tenant), Changed::User(tenant, user)] {
            assert_eq!(changed.to_string().parse(), Ok(changed));
        }
        assert!("everything".parse::<Changed>().is_err());
    }
}
