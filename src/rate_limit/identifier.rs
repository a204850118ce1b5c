//! Who is counted.

use std::net::IpAddr;

use ipnet::IpNet;
use sha2::{Digest, Sha256};

use crate::domain::{TenantId, UserId, counted_address};

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
    /// A network of several customers' size whose addresses try to log in.
    LoginNetwork(IpNet),
    /// An account that somebody tries to log in to. Counted for all networks together, except for those that the account was signed in
    /// from before: each of them is counted by itself. In a list of limits it comes last.
    Login(LoginSource),
}

/// An attempt to log in: to which account, and from which network. Digests, so that nothing of either is in a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LoginSource {
    pub(super) account: [u8; 16],
    pub(super) network: [u8; 8],
}

impl LoginSource {
    /// Returns the digests of an account, by what a client called it, whether or not there is one, and of the network of `address`. An
    /// e-mail address is the same in upper and lower case.
    #[must_use]
    pub fn new(tenant: &str, email: &str, address: IpAddr) -> Self {
        let mut digest = Sha256::new();
        digest.update(b"agentapi login v1");
        // With its length, so that no part of one can be taken for a part of the other.
        digest.update(tenant.len().to_be_bytes());
        digest.update(tenant);
        digest.update(email.to_lowercase());
        let account: [u8; 16] = first(&digest.finalize());
        let mut digest = Sha256::new();
        // With the account, so that nobody can tell which accounts are used from one network.
        digest.update(b"agentapi login network v1");
        digest.update(account);
        digest.update(counted_address(address).to_string());
        Self { account, network: first(&digest.finalize()) }
    }
}

/// The first bytes of a digest, which is longer.
fn first<const N: usize>(digest: &[u8]) -> [u8; N] {
    std::array::from_fn(|index| digest[index])
}

/// Something for each kind of identifier, so that what one kind fills up it takes from no other: anybody can come from many
/// addresses, and must not push out users by that.
#[derive(Debug, Default)]
pub(super) struct ByKind<T>([T; 6]);

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
            Identifier::LoginNetwork(_) => 4,
            Identifier::Login(_) => 5,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_are_told_apart_but_not_by_case() {
        let account = |tenant, email| LoginSource::new(tenant, email, IpAddr::from([192, 0, 2, 1])).account;
        assert_eq!(account("acme", "Ada@example.org"), account("acme", "ada@EXAMPLE.org"));
        assert_ne!(account("acme", "ada@example.org"), account("acm", "eada@example.org"));
    }

    #[test]
    fn networks_of_an_account_are_told_apart_by_customer() {
        let source = |email, address: &str| LoginSource::new("acme", email, address.parse().expect("an address"));
        assert_eq!(source("ada@x", "2001:db8::1"), source("ada@x", "2001:db8::2"));
        assert_ne!(source("ada@x", "2001:db8::1"), source("ada@x", "2001:db8:0:1::1"));
        assert_eq!(source("ada@x", "192.0.2.1").account, source("ada@x", "192.0.2.2").account);
        assert_ne!(source("ada@x", "192.0.2.1").network, source("bob@x", "192.0.2.1").network);
    }
}
