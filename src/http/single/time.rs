//! How times are written: RFC 3339 with the machine's offset and as many digits as are needed.

use chrono::{DateTime, Local, SecondsFormat, TimeZone, Utc};

/// `time` as clients are told it.
pub(super) fn shown(time: DateTime<Utc>) -> String {
    write(&time.with_timezone(&Local))
}

fn write<Z: TimeZone<Offset: std::fmt::Display>>(time: &DateTime<Z>) -> String {
    let text = time.to_rfc3339_opts(SecondsFormat::Nanos, true);
    let (seconds, rest) = text.split_once('.').unwrap_or((&text, ""));
    let zone = rest.trim_start_matches(|c: char| c.is_ascii_digit());
    let fraction = rest[..rest.len() - zone.len()].trim_end_matches('0');
    let point = if fraction.is_empty() { "" } else { "." };
    format!("{seconds}{point}{fraction}{zone}")
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, Utc};

    use super::write;

    #[test]
    fn times_have_an_offset_and_no_digit_too_many() {
        for (time, expected) in [
            ("2026-04-10T20:30:30.227973250Z", "2026-04-10T20:30:30.22797325Z"),
            ("2026-04-10T15:52:23.426558635-05:00", "2026-04-10T15:52:23.426558635-05:00"),
            ("2026-04-10T15:52:20.000-05:00", "2026-04-10T15:52:20-05:00"),
        ] {
            assert_eq!(write(&DateTime::parse_from_rfc3339(time).expect("a time")), expected);
        }
        let utc: DateTime<Utc> = "2026-04-10T20:30:30Z".parse().expect("a time");
        assert_eq!(write(&utc), "2026-04-10T20:30:30Z");
    }
}
