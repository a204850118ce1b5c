//! Where a server is reached and by which key its requests are known, as Postgres keeps it.
//!
//! The row has a message authentication code by a key of the key ring: whoever can write to Postgres, and does not have
//! `TOKEN_ENCRYPTION_KEY`, can neither redirect what servers forward to each other nor add a server.

use crate::domain::{KeyRing, Mac, MacPurpose, PublicKey, ReplicaId};
use crate::postgres::Replica;

/// An authentic address of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Address {
    /// Where it is reached.
    pub(super) url: String,
    /// By which key it signs.
    pub(super) key: PublicKey,
}

impl Address {
    /// Returns the row of the server `id`.
    pub(super) fn row(&self, keys: &KeyRing, id: ReplicaId) -> Replica {
        Replica {
            id,
            url: self.url.clone(),
            public_key: self.key.as_bytes().to_vec(),
            mac: keys.mac(MacPurpose::Replica, &text(id, &self.url, &self.key)).as_bytes().to_vec(),
        }
    }

    /// Returns the address of a row that a server with one of `keys` wrote; nothing if the row is not authentic.
    pub(super) fn of_row(keys: &KeyRing, row: &Replica) -> Option<Self> {
        let (key, mac) = (PublicKey::from_bytes(&row.public_key)?, Mac::from_bytes(&row.mac)?);
        let is_authentic = keys.is_authentic(MacPurpose::Replica, &text(row.id, &row.url, &key), &mac);
        is_authentic.then(|| Self { url: row.url.clone(), key })
    }
}

/// What the code covers. Only the last part varies in length.
fn text(id: ReplicaId, url: &str, key: &PublicKey) -> Vec<u8> {
    [b"replica v1", id.as_uuid().as_bytes().as_slice(), key.as_bytes(), url.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::SigningKey;

    #[test]
    fn row_changed_in_any_part_is_not_authentic() {
        let (keys, id) = (KeyRing::new(&[7; 32]), ReplicaId::new());
        let address = Address { url: "http://10.0.0.5:3284".to_owned(), key: SigningKey::generate().public() };
        let row = address.row(&keys, id);
        assert_eq!(Address::of_row(&keys, &row), Some(address));
        let other = SigningKey::generate().public().as_bytes().to_vec();
        for (what, changed) in [
            ("id", Replica { id: ReplicaId::new(), ..row.clone() }),
            ("url", Replica { url: "http://10.0.0.6:3284".to_owned(), ..row.clone() }),
            ("public key", Replica { public_key: other, ..row.clone() }),
            ("no public key", Replica { public_key: Vec::new(), ..row.clone() }),
            ("mac", Replica { mac: vec![0; Mac::BYTES], ..row.clone() }),
            ("no mac", Replica { mac: Vec::new(), ..row.clone() }),
        ] {
            assert_eq!(Address::of_row(&keys, &changed), None, "{what}");
        }
        assert_eq!(Address::of_row(&KeyRing::new(&[8; 32]), &row), None, "another key ring");
        let rotated = KeyRing::with_others(&[8; 32], [&[7; 32]]).expect("two keys");
        assert!(Address::of_row(&rotated, &row).is_some(), "a ring with its key as a previous one");
    }
}
