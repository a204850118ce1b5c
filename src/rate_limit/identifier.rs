//! Who is counted.

use std::net::{IpAddr, Ipv6Addr};

use sha2::{Digest, Sha256};

use crate::domain::{TenantId, UserId};

/// Who a request is counted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Identifier {
    /// A user, as its token says.
    User(UserId),
    /// All users of a tenant together.
    Tenant(TenantId),
    /// A network address.
    Ip(IpAddr),
    /// A network address that tries to log in.
    LoginIp(IpAddr),
    /// An account that somebody tries to log in to: a digest of what was said, so that nothing of it is in a key.
    Login([u8; 16]),
}

impl Identifier {
    /// An account by what a client called it, whether or not there is such a one. An e-mail address is one in any case.
    #[must_use]
    pub fn login(tenant: &str, email: &str) -> Self {
        let mut digest = Sha256::new();
        digest.update(b"agentapi login v1");
        // With its length, so that no part of one can be taken for a part of the other.
        digest.update(tenant.len().to_be_bytes());
        digest.update(tenant);
        digest.update(email.to_lowercase());
        let mut account = [0; 16];
        account.copy_from_slice(&digest.finalize()[..16]);
        Self::Login(account)
    }
}

/// Something for each kind of identifier, so that what one kind fills up it takes from no other: anybody can come from many
/// addresses, and must not push out users by that.
#[derive(Debug, Default)]
pub(super) struct ByKind<T>([T; 5]);

impl<T> ByKind<T> {
    /// That of the kind of `identifier`.
    pub(super) const fn of(&self, identifier: Identifier) -> &T {
        &self.0[Self::place(identifier)]
    }

    /// The same, to be changed.
    pub(super) const fn of_mut(&mut self, identifier: Identifier) -> &mut T {
        &mut self.0[Self::place(identifier)]
    }

    /// All, to be changed.
    pub(super) fn all_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.0.iter_mut()
    }

    const fn place(identifier: Identifier) -> usize {
        match identifier {
            Identifier::User(_) => 0,
            Identifier::Tenant(_) => 1,
            Identifier::Ip(_) => 2,
            Identifier::LoginIp(_) => 3,
            Identifier::Login(_) => 4,
        }
    }
}

/// An address as it is counted: an IPv6 one stands for its /64 network, which one customer has to itself.
#[must_use]
pub fn counted_address(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_one_customer_are_one() {
        let counted = |text: &str| counted_address(text.parse().expect("an address"));
        assert_eq!(counted("2001:db8:1:2:3:4:5:6"), counted("2001:db8:1:2:ffff::"));
        assert_ne!(counted("2001:db8:1:2::"), counted("2001:db8:1:3::"));
        assert_eq!(counted("::ffff:192.0.2.1"), counted("192.0.2.1"));
        assert_ne!(counted("192.0.2.1"), counted("192.0.2.2"));
    }

    #[test]
    fn accounts_are_told_apart_but_not_by_case() {
        assert_eq!(Identifier::login("acme", "Ada@example.org"), Identifier::login("acme", "ada@EXAMPLE.org"));
        assert_ne!(Identifier::login("acme", "ada@example.org"), Identifier::login("acm", "eada@example.org"));
    }
}
