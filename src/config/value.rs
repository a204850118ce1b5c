//! How single values are written in the environment, parsed and shown. Each parser says what it expects.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretBox, SecretString};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use url::Url;

/// What is shown in place of a secret.
pub(super) const MASK: &str = "********";

/// A duration: `5s`, `2m`, `12h`, `250ms`, or bare seconds.
pub(super) mod duration {
    use super::{Deserialize, Deserializer, Duration, Serializer, de};

    const EXPECTED: &str = "expected a duration above zero such as 250ms, 5s, 2m, 12h, or bare seconds";

    pub(in crate::config) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Duration, D::Error> {
        parse(&String::deserialize(d)?).ok_or_else(|| de::Error::custom(EXPECTED))
    }

    pub(in crate::config) fn serialize<S: Serializer>(value: &Duration, s: S) -> Result<S::Ok, S::Error> {
        let ms = value.as_millis();
        s.serialize_str(&if ms.is_multiple_of(1000) { format!("{}s", ms / 1000) } else { format!("{ms}ms") })
    }

    /// At most 10 years, so that sums of durations and timestamps cannot overflow.
    pub(super) fn parse(text: &str) -> Option<Duration> {
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let number: u64 = number.parse().ok()?;
        let ms = match unit.trim() {
            "ms" => number,
            "" | "s" => number.checked_mul(1000)?,
            "m" => number.checked_mul(60_000)?,
            "h" => number.checked_mul(3_600_000)?,
            "d" => number.checked_mul(86_400_000)?,
            _ => return None,
        };
        (1..=315_360_000_000).contains(&ms).then(|| Duration::from_millis(ms))
    }
}

/// As [`duration`], for a variable with no default.
pub(super) mod optional_duration {
    use super::{Deserializer, Duration, Serializer, duration};

    pub(in crate::config) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Duration>, D::Error> {
        duration::deserialize(d).map(Some)
    }

    #[expect(clippy::ref_option, reason = "serde's signature for `with`")]
    pub(in crate::config) fn serialize<S: Serializer>(value: &Option<Duration>, s: S) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => duration::serialize(value, s),
            None => s.serialize_none(),
        }
    }
}

/// A whole number from `MIN` to `MAX`.
pub(super) fn whole<'de, T, const MIN: u64, const MAX: u64, D>(d: D) -> Result<T, D::Error>
where
    T: TryFrom<u64>,
    D: Deserializer<'de>,
{
    let text = String::deserialize(d)?;
    text.parse::<u64>()
        .ok()
        .filter(|number| (MIN..=MAX).contains(number))
        .and_then(|number| T::try_from(number).ok())
        .ok_or_else(|| de::Error::custom(format_args!("expected a whole number from {MIN} to {MAX}")))
}

/// As [`whole`], for a variable with no default.
pub(super) fn optional_whole<'de, T, const MIN: u64, const MAX: u64, D>(d: D) -> Result<Option<T>, D::Error>
where
    T: TryFrom<u64>,
    D: Deserializer<'de>,
{
    whole::<T, MIN, MAX, D>(d).map(Some)
}

/// `true` or `false`; also `1`, `0`, `yes`, `no`, `on`, `off`.
pub(super) fn boolean<'de, D: Deserializer<'de>>(d: D) -> Result<bool, D::Error> {
    match String::deserialize(d)?.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Ok(true),
        "false" | "0" | "no" | "off" => Ok(false),
        _ => Err(de::Error::custom("expected true or false")),
    }
}

/// As [`boolean`], for a variable with no default.
pub(super) fn optional_boolean<'de, D: Deserializer<'de>>(d: D) -> Result<Option<bool>, D::Error> {
    boolean(d).map(Some)
}

/// A list separated by commas or white space, each item by its own `FromStr`.
pub(super) fn list<'de, T: FromStr, D: Deserializer<'de>>(d: D) -> Result<Vec<T>, D::Error> {
    let text = String::deserialize(d)?;
    text.split([',', ' '])
        .filter(|item| !item.is_empty())
        .map(|item| {
            item.parse()
                .map_err(|_| de::Error::custom(format_args!("expected a list separated by commas; {item:?} does not fit")))
        })
        .collect()
}

/// A value parsed by its `FromStr`, whose error says what is expected.
pub(super) fn parsed<'de, T, D>(d: D) -> Result<T, D::Error>
where
    T: FromStr,
    T::Err: fmt::Display,
    D: Deserializer<'de>,
{
    String::deserialize(d)?.parse().map_err(|error| de::Error::custom(format_args!("expected {error}")))
}

/// An optional secret, shown masked.
pub(super) mod secret {
    use super::{Deserialize, Deserializer, MASK, SecretString, Serializer, de};

    pub(in crate::config) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Option<SecretString>, D::Error> {
        Ok(Some(SecretString::from(String::deserialize(d)?)))
    }

    /// A secret that travels in an HTTP header.
    pub(in crate::config) fn deserialize_token<'de, D: Deserializer<'de>>(d: D) -> Result<Option<SecretString>, D::Error> {
        let text = String::deserialize(d)?;
        let quoted = text.starts_with(['"', '\'']) || text.ends_with(['"', '\'']);
        if !quoted && text.chars().all(|c| c.is_ascii_graphic()) {
            Ok(Some(SecretString::from(text)))
        } else {
            Err(de::Error::custom("expected a token, without spaces or quotes around it"))
        }
    }

    #[expect(clippy::ref_option, reason = "serde's signature for `with`")]
    pub(in crate::config) fn serialize<S: Serializer>(value: &Option<SecretString>, s: S) -> Result<S::Ok, S::Error> {
        match value {
            Some(_) => s.serialize_str(MASK),
            None => s.serialize_none(),
        }
    }
}

/// A connection URL that may hold a password. `Debug`, `Display` and `Serialize` mask it.
#[derive(Clone)]
pub struct SecretUrl(Url);

impl SecretUrl {
    /// Parses `text` if its scheme is one of `schemes` and it names a host.
    pub(super) fn parse(text: &str, schemes: &[&str]) -> Option<Self> {
        let url = Url::parse(text).ok()?;
        (schemes.contains(&url.scheme()) && url.host_str().is_some_and(|host| !host.is_empty())).then_some(Self(url))
    }

    /// The URL with its password.
    #[must_use]
    pub fn expose(&self) -> &Url {
        &self.0
    }

    /// The host, which is no secret.
    #[must_use]
    pub fn host(&self) -> &str {
        self.0.host_str().unwrap_or_default()
    }

    /// Whether what is sent there is encrypted on the way.
    #[must_use]
    pub fn is_encrypted(&self) -> bool {
        matches!(self.0.scheme(), "https" | "rediss")
    }
}

impl fmt::Display for SecretUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = self.0.clone();
        if shown.password().is_some() && shown.set_password(Some(MASK)).is_err() {
            return f.write_str(MASK);
        }
        // Connection options such as `?password=` may hold secrets too.
        if shown.query().is_some() {
            shown.set_query(Some(MASK));
        }
        f.write_str(shown.as_str())
    }
}

impl fmt::Debug for SecretUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for SecretUrl {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

/// An `https://` URL with nothing behind its path and no credentials in it; `http://` is for look-alikes on a private network.
pub(super) fn https_url<'de, D: Deserializer<'de>>(d: D) -> Result<Option<SecretUrl>, D::Error> {
    SecretUrl::parse(&String::deserialize(d)?, &["https", "http"])
        .filter(|SecretUrl(url)| url.username().is_empty() && url.password().is_none())
        .filter(|SecretUrl(url)| url.query().is_none() && url.fragment().is_none())
        .map(Some)
        .ok_or_else(|| de::Error::custom("expected an https:// URL without credentials, query or fragment"))
}

/// A `postgres://` URL.
pub(super) fn postgres_url<'de, D: Deserializer<'de>>(d: D) -> Result<Option<SecretUrl>, D::Error> {
    SecretUrl::parse(&String::deserialize(d)?, &["postgres", "postgresql"])
        .map(Some)
        .ok_or_else(|| de::Error::custom("expected postgres://user:password@host[:port]/database"))
}

/// A 256-bit key, written as 64 hexadecimal digits.
#[derive(Clone)]
pub struct EncryptionKey(std::sync::Arc<SecretBox<[u8; 32]>>);

impl EncryptionKey {
    /// Takes the bytes of a key.
    #[must_use]
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(std::sync::Arc::new(SecretBox::new(Box::new(bytes))))
    }

    /// The bytes of the key.
    #[must_use]
    pub fn expose(&self) -> &[u8; 32] {
        self.0.expose_secret()
    }
}

impl FromStr for EncryptionKey {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| "64 hexadecimal digits (agentapi keys generate)")?;
        Ok(Self::new(bytes))
    }
}

/// Keys that one key ring takes beside the current one; a rotation needs one.
const MAX_PREVIOUS_KEYS: usize = 8;

/// Keys, separated by commas. What does not fit is not told: it may be most of a key.
pub(super) fn encryption_keys<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<EncryptionKey>, D::Error> {
    let text = String::deserialize(d)?;
    let keys: Result<Vec<EncryptionKey>, _> =
        text.split(',').map(str::trim).filter(|key| !key.is_empty()).map(str::parse).collect();
    keys.ok().filter(|keys| keys.len() <= MAX_PREVIOUS_KEYS).ok_or_else(|| {
        de::Error::custom(format_args!("expected at most {MAX_PREVIOUS_KEYS} keys of 64 hexadecimal digits, separated by commas"))
    })
}

impl fmt::Debug for EncryptionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

impl<'de> Deserialize<'de> for EncryptionKey {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        parsed(d)
    }
}

impl Serialize for EncryptionKey {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(MASK)
    }
}
