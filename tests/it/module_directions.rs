//! The plan of the house (ARCHITECTURE.md) stays true: arrows point down only.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// What each room may know. A room's tests may know no more than the room.
const MAY_KNOW: &[(&str, &[&str])] = &[
    ("main", &["cli"]),
    (
        "cli",
        &[
            "agent",
            "api_key",
            "cache",
            "circuit_breaker",
            "config",
            "data_dir",
            "domain",
            "http",
            "lifecycle",
            "open_files",
            "outbound",
            "postgres",
            "rate_limit",
            "redis",
            "replica",
            "session",
            "telemetry",
        ],
    ),
    (
        "http",
        &[
            "agent",
            "api_key",
            "cache",
            "circuit_breaker",
            "config",
            "domain",
            "hashing",
            "lifecycle",
            "outbound",
            "postgres",
            "rate_limit",
            "redis",
            "replica",
            "session",
            "telemetry",
        ],
    ),
    ("agent", &["cache", "config", "domain", "open_files", "outbound", "postgres"]),
    ("api_key", &["cache", "domain", "postgres"]),
    ("hashing", &["domain"]),
    ("session", &["config", "domain", "redis"]),
    ("rate_limit", &["config", "domain", "postgres", "redis"]),
    ("cache", &["domain", "postgres", "redis"]),
    ("replica", &["domain", "outbound", "postgres", "redis"]),
    ("outbound", &["circuit_breaker", "domain", "tls"]),
    ("circuit_breaker", &["config", "domain", "redis"]),
    ("redis", &["config", "domain", "tls"]),
    ("postgres", &["data_dir", "domain"]),
    ("config", &["domain"]),
    ("telemetry", &["config"]),
    ("lifecycle", &[]),
    ("open_files", &[]),
    ("tls", &[]),
    ("data_dir", &[]),
    ("domain", &[]),
];

/// Crates that only one room may know.
const ONLY_IN: &[(&str, &str)] = &[
    ("sqlx", "postgres"),
    ("redis", "redis"),
    ("deadpool_redis", "redis"),
    ("axum", "http"),
    ("envy", "config"),
    ("aes_gcm", "domain"),
];

fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    entries
        .flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] })
        .filter(|path| path.extension().is_some_and(|e| e == "rs"))
        .collect()
}

fn room(file: &Path, src: &Path) -> String {
    let first = file.strip_prefix(src).expect("below src").components().next().expect("a name");
    first.as_os_str().to_string_lossy().trim_end_matches(".rs").to_owned()
}

/// Rooms named after `crate::` in a line.
fn named(line: &str) -> impl Iterator<Item = &str> {
    line.split("crate::").skip(1).map(|rest| rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default())
}

#[test]
fn arrows_point_down_only() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut rooms = BTreeSet::new();
    for file in sources(&src) {
        let room = room(&file, &src);
        if room == "lib" {
            continue;
        }
        let text = std::fs::read_to_string(&file).expect("a source file");
        let (_, allowed) =
            MAY_KNOW.iter().find(|(name, _)| *name == room).unwrap_or_else(|| panic!("room {room} is not in the plan"));
        rooms.insert(room.clone());
        for line in text.lines().filter(|line| !line.trim_start().starts_with("//")) {
            for other in named(line).filter(|other| *other != room && !other.is_empty()) {
                assert!(allowed.contains(&other), "{}: {room} may not know {other}: {line}", file.display());
            }
            for (library, home) in ONLY_IN {
                let used = line.trim_start().strip_prefix("use ").is_some_and(|rest| rest.starts_with(&format!("{library}::")));
                assert!(!used || room == *home, "{}: only {home} may know {library}: {line}", file.display());
            }
        }
    }
    let planned: BTreeSet<String> = MAY_KNOW.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(rooms, planned, "the plan names rooms that are not there");
}
