//! Passwords, stored as argon2id hashes (RFC 9106) with the crate's default cost, which is OWASP's: 19 MiB, 2 passes.

mod rules;

use argon2::password_hash::{self, Output, ParamsString, Salt, SaltString};
use argon2::{Algorithm, Argon2, Block, Params, PasswordHash as Phc, Version};
use secrecy::{ExposeSecret, SecretString};

use self::rules::normalised;
pub use self::rules::{PasswordRejected, PasswordRules};
use super::random_bytes;

/// Room that is set aside for a hash, of which it touches what it needs. Allocators keep freed memory for later, at worst as much for
/// each thread that ever hashed; but what is large they give back at once: jemalloc, the program's own, from 8 MiB, glibc above 32 MiB.
const ROOM_BYTES: usize = 33 * 1024 * 1024;

/// A password's argon2id hash in PHC string format.
#[derive(Clone)]
pub struct PasswordHash(String);

impl PasswordHash {
    /// Longest password taken, so that hashing has a bound.
    pub const MAX_BYTES: usize = 1024;

    /// Hashes a new password, normalised (NFKC). Takes tens of milliseconds of one core.
    ///
    /// # Errors
    /// [`PasswordRejected`] if it breaks one of the rules.
    pub fn of(password: &SecretString, rules: &PasswordRules) -> Result<Self, PasswordRejected> {
        if password.expose_secret().len() > Self::MAX_BYTES {
            return Err(PasswordRejected::Long);
        }
        let password = SecretString::from(normalised(password.expose_secret()));
        rules.check(password.expose_secret())?;
        let salt = SaltString::encode_b64(&random_bytes::<16>()).map_err(|_| PasswordRejected::Unhashable)?;
        hash(password.expose_secret().as_bytes(), salt.as_salt()).map(Self).map_err(|_| PasswordRejected::Unhashable)
    }

    /// A hash that no password matches, to spend the same time on unknown users.
    #[must_use]
    pub fn of_nobody() -> Self {
        // The argon2id hash of random bytes that nobody kept, with the default cost.
        Self("$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$J9vG5fkQmqkdRYI2kHBtVNn7gpBYVcLxM4ZfqT1mUzE".to_owned())
    }

    /// Takes a hash as it was stored.
    #[must_use]
    pub const fn from_phc(text: String) -> Self {
        Self(text)
    }

    /// The hash as it is stored.
    #[must_use]
    pub fn as_phc(&self) -> &str {
        &self.0
    }

    /// Whether `password` is the hashed one. Takes as long as [`PasswordHash::of`], or twice as long for a password that is not normalised:
    /// it may have been hashed as it is, before passwords were normalised. Compares in constant time.
    #[must_use]
    pub fn verify(&self, password: &SecretString) -> bool {
        let given = password.expose_secret();
        if given.len() > Self::MAX_BYTES {
            return false;
        }
        let is_hashed = |password: &str| matches(password.as_bytes(), &self.0).unwrap_or(false);
        let normalised = SecretString::from(normalised(given));
        is_hashed(normalised.expose_secret()) || (normalised.expose_secret() != given && is_hashed(given))
    }
}

/// A new hash in PHC string format.
fn hash(password: &[u8], salt: Salt<'_>) -> password_hash::Result<String> {
    let (algorithm, version, params) = (Algorithm::default(), Version::default(), Params::default());
    let phc = Phc {
        algorithm: algorithm.ident(),
        version: Some(version.into()),
        params: ParamsString::try_from(&params)?,
        salt: Some(salt),
        hash: Some(output(password, salt, algorithm, version, params)?),
    };
    Ok(phc.to_string())
}

/// Whether `password` has this hash. The outputs are compared in constant time.
fn matches(password: &[u8], phc: &str) -> password_hash::Result<bool> {
    let phc = Phc::new(phc)?;
    let (Some(salt), Some(expected)) = (phc.salt, phc.hash) else { return Ok(false) };
    let algorithm = Algorithm::try_from(phc.algorithm)?;
    let version = phc.version.map(Version::try_from).transpose()?.unwrap_or_default();
    Ok(output(password, salt, algorithm, version, Params::try_from(&phc)?)? == expected)
}

fn output(
    password: &[u8],
    salt: Salt<'_>,
    algorithm: Algorithm,
    version: Version,
    params: Params,
) -> password_hash::Result<Output> {
    let mut salt_bytes = [0; Salt::MAX_LENGTH];
    let salt = salt.decode_b64(&mut salt_bytes)?;
    let blocks = params.block_count();
    let mut memory = Vec::with_capacity(blocks.max(ROOM_BYTES / Block::SIZE));
    memory.resize(blocks, Block::default());
    let length = params.output_len().unwrap_or(Params::DEFAULT_OUTPUT_LEN);
    let argon2 = Argon2::new(algorithm, version, params);
    Output::init_with(length, |out| Ok(argon2.hash_password_into_with_memory(password, salt, out, &mut memory)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash_of(password: &str) -> Result<PasswordHash, PasswordRejected> {
        PasswordHash::of(&password.into(), &PasswordRules::new(PasswordRules::DEFAULT_MIN_CHARS))
    }

    #[test]
    fn only_the_hashed_password_verifies() {
        let hash = hash_of("correct horse").expect("long enough");
        assert!(hash.verify(&"correct horse".into()));
        assert!(!hash.verify(&"correct horsf".into()));
        assert!(hash.as_phc().starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
    }

    #[test]
    fn hashes_are_those_of_argon2id() {
        use argon2::password_hash::{PasswordHasher, PasswordVerifier};
        let ours = hash_of("correct horse").expect("long enough");
        let parsed = Phc::new(ours.as_phc()).expect("parses");
        Argon2::default().verify_password(b"correct horse", &parsed).expect("the crate takes our hash");
        let theirs = Argon2::default().hash_password(b"correct horse", parsed.salt.expect("salted")).expect("hashed");
        assert_eq!(ours.as_phc(), theirs.to_string());
    }

    #[test]
    fn bounds_are_kept() {
        assert_eq!(hash_of("short").err(), Some(PasswordRejected::Short(12)));
        assert_eq!(hash_of(&"long ".repeat(205)).err(), Some(PasswordRejected::Long));
        assert!(hash_of(&"longer ".repeat(146)).is_ok());
    }

    #[test]
    fn composition_of_characters_makes_no_difference() {
        let hash = hash_of("un cafe\u{301} noir").expect("long enough");
        assert!(hash.verify(&"un cafe\u{301} noir".into()) && hash.verify(&"un caf\u{e9} noir".into()));
        assert!(!hash.verify(&"un cafe noir".into()));
    }

    #[test]
    fn nobodys_hash_costs_the_same_and_matches_nothing() {
        let nobody = PasswordHash::of_nobody();
        let somebody = hash_of("correct horse").expect("long enough");
        let cost = |hash: &PasswordHash| Phc::new(hash.as_phc()).expect("parses").params.to_string();
        assert_eq!(cost(&nobody), cost(&somebody));
        assert!(!nobody.verify(&"correct horse".into()));
    }
}
