//! The URL of a Redis: what the client makes nothing of is refused at the start, not when it first connects.

use serde::{Deserialize, Deserializer, de};
use url::Url;

use super::value::SecretUrl;

/// A `redis://` or `rediss://` URL.
pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Option<SecretUrl>, D::Error> {
    let url = SecretUrl::parse(&String::deserialize(d)?, &["redis", "rediss"])
        .ok_or_else(|| de::Error::custom("expected redis://[[user]:password@]host[:port][/database], or rediss:// for TLS"))?;
    match instead(url.expose()) {
        Some(expected) => Err(de::Error::custom(format_args!("expected {expected}"))),
        None => Ok(Some(url)),
    }
}

/// What is expected instead of a part of `url`, if one is wrong.
fn instead(url: &Url) -> Option<&'static str> {
    let host = url.host_str().unwrap_or_default();
    let database = url.path().trim_matches('/');
    if matches!(host, "0.0.0.0" | "[::]") {
        return Some("the host of a Redis, which no client reaches at 0.0.0.0 or [::]");
    }
    // The client would take `#insecure` for leave to trust anybody.
    if url.fragment().is_some() {
        return Some("no # behind the URL: certificates are always checked; name an authority of your own in SSL_CERT_FILE");
    }
    // Digits alone: a number may also be written with a plus.
    let is_number = database.bytes().all(|b| b.is_ascii_digit()) && database.parse::<u32>().is_ok();
    if !database.is_empty() && !is_number {
        return Some("the number of a database behind the host, as in redis://host:6379/0, or nothing");
    }
    let known = |name: &str, value: &str| name == "protocol" && matches!(value, "2" | "3" | "resp2" | "resp3");
    if !url.query_pairs().all(|(name, value)| known(&name, &value)) {
        return Some("nothing behind the ? but protocol=2 or protocol=3");
    }
    None
}
