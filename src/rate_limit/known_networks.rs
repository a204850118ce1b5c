//! Networks that accounts were signed in from, as a process without Redis remembers them.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use super::LoginSource;

/// How long it is remembered that an account was signed in from a network.
pub const LOGIN_MEMORY: Duration = Duration::from_secs(30 * 24 * 3600);

/// Networks that are remembered of an account: the last ones. So many times as much can be tried as from everywhere else together, but
/// only from where its user was.
pub const MAX_NETWORKS: usize = 16;

/// Accounts that are remembered at most: some 20 MB.
const MAX_ACCOUNTS: usize = 100_000;

#[derive(Debug, Default)]
pub(super) struct KnownNetworks(HashMap<[u8; 16], Known>);

#[derive(Debug)]
struct Known {
    /// The last one first.
    networks: Vec<[u8; 8]>,
    until: Instant,
}

impl KnownNetworks {
    /// Whether the account was signed in from this network.
    pub(super) fn contains(&self, source: LoginSource, now: Instant) -> bool {
        self.0.get(&source.account).is_some_and(|known| now < known.until && known.networks.contains(&source.network))
    }

    /// Remembers that the account was signed in from this network.
    pub(super) fn insert(&mut self, source: LoginSource, now: Instant) {
        if self.0.len() >= MAX_ACCOUNTS && !self.0.contains_key(&source.account) {
            self.0.retain(|_, known| now < known.until);
            // So many accounts at once: the one that would be forgotten first makes room.
            if self.0.len() >= MAX_ACCOUNTS
                && let Some(&oldest) = self.0.iter().min_by_key(|(_, known)| known.until).map(|(account, _)| account)
            {
                self.0.remove(&oldest);
            }
        }
        let known = self.0.entry(source.account).or_insert_with(|| Known { networks: Vec::new(), until: now });
        if now >= known.until {
            known.networks.clear();
        }
        known.networks.retain(|network| *network != source.network);
        known.networks.insert(0, source.network);
        known.networks.truncate(MAX_NETWORKS);
        known.until = now + LOGIN_MEMORY;
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;

    fn source(email: &str, number: usize) -> LoginSource {
        let number = u32::try_from(number).expect("small");
        LoginSource::new("acme", email, IpAddr::V4(Ipv4Addr::from_bits(number)))
    }

    #[tokio::test(start_paused = true)]
    async fn last_networks_are_remembered_for_their_time() {
        let (mut known, now) = (KnownNetworks::default(), Instant::now());
        for number in 0..=MAX_NETWORKS {
            known.insert(source("ada@x", number), now);
            // The first one is used all the time.
            known.insert(source("ada@x", 0), now);
        }
        let contains = |number, later| known.contains(source("ada@x", number), now + later);
        assert!(contains(0, Duration::ZERO) && contains(MAX_NETWORKS, LOGIN_MEMORY / 2));
        assert!(!contains(1, Duration::ZERO), "the oldest was forgotten");
        assert!(!contains(0, LOGIN_MEMORY) && !known.contains(source("bob@x", 0), now));
    }

    #[tokio::test(start_paused = true)]
    async fn accounts_are_bounded() {
        let (mut known, now) = (KnownNetworks::default(), Instant::now());
        known.insert(source("first@x", 0), now);
        for number in 0..MAX_ACCOUNTS {
            known.insert(source(&number.to_string(), 0), now + Duration::from_secs(1));
        }
        assert_eq!(known.0.len(), MAX_ACCOUNTS);
        assert!(!known.contains(source("first@x", 0), now) && known.contains(source("7", 0), now));
    }
}
