//! Randomness for secrets.

use rand::TryRngCore;
use rand::rngs::OsRng;

/// Bytes from the operating system's generator.
///
/// # Panics
/// If the operating system has none to give: nothing that needs secrets may go on then.
#[must_use]
pub fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    OsRng.try_fill_bytes(&mut bytes).expect("the operating system's random generator works");
    bytes
}
