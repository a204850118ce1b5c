//! Finding the installed Postgres programs.

use std::path::{Path, PathBuf};

use super::EmbeddedError;
use super::account::Account;

/// The programs that are needed.
const PROGRAMS: [&str; 3] = ["postgres", "initdb", "pg_ctl"];

/// Where packages put them: parent, start of the version's directory name, rest.
const PACKAGES: [(&str, &str, &str); 5] = [
    ("/usr/lib/postgresql", "", "bin"),
    ("/usr", "pgsql-", "bin"),
    ("/opt/homebrew/opt", "postgresql", "bin"),
    ("/usr/local/opt", "postgresql", "bin"),
    ("/Applications/Postgres.app/Contents/Versions", "", "bin"),
];

/// A directory with the programs of one Postgres version.
#[derive(Debug)]
pub(super) struct Binaries(PathBuf);

impl Binaries {
    /// Directories that may hold the programs, the best first: those of `PATH`, then those of packages, newest version first.
    pub(super) fn candidates() -> Vec<PathBuf> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path)
            .filter(|directory| directory.is_absolute() && complete(directory))
            .chain(PACKAGES.iter().flat_map(|(parent, prefix, rest)| versions(Path::new(parent), prefix, rest)))
            .collect()
    }

    /// The first of `candidates` whose programs are there, can be run by `account`, and have the version of the cluster in
    /// `cluster`, if there is one.
    pub(super) async fn find(candidates: &[PathBuf], cluster: &Path, account: &Account) -> Result<Self, EmbeddedError> {
        let mut usable = candidates.iter().filter(|directory| complete(directory)).filter(|directory| account.reaches(directory));
        let wanted = std::fs::read_to_string(cluster.join("PG_VERSION")).ok().and_then(|text| text.trim().parse().ok());
        let Some(wanted) = wanted else {
            return match usable.next() {
                Some(directory) => Ok(Self(directory.clone())),
                None => Err(not_installed(candidates)),
            };
        };
        let mut found = Vec::new();
        for directory in usable {
            let version = major(&directory.join("postgres"), account).await?;
            if version == Some(wanted) {
                return Ok(Self(directory.clone()));
            }
            found.extend(version);
        }
        if found.is_empty() {
            return Err(not_installed(candidates));
        }
        found.sort_unstable();
        found.dedup();
        Err(EmbeddedError::WrongVersion { cluster: cluster.to_owned(), wanted, found })
    }

    /// Path of a program.
    pub(super) fn program(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

fn complete(directory: &Path) -> bool {
    PROGRAMS.iter().all(|program| directory.join(program).is_file())
}

fn not_installed(candidates: &[PathBuf]) -> EmbeddedError {
    let standard = || [PathBuf::from("PATH")].into_iter().chain(PACKAGES.iter().map(|(parent, ..)| PathBuf::from(parent)));
    EmbeddedError::NotInstalled { searched: if candidates.is_empty() { standard().collect() } else { candidates.to_vec() } }
}

/// Version directories of `parent`, newest first.
fn versions(parent: &Path, prefix: &str, rest: &str) -> Vec<PathBuf> {
    let mut found: Vec<(u32, PathBuf)> = std::fs::read_dir(parent)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let version = name.strip_prefix(prefix)?.trim_start_matches('@').parse().ok()?;
            Some((version, entry.path().join(rest)))
        })
        .collect();
    found.sort_unstable_by(|a, b| b.cmp(a));
    found.into_iter().map(|(_, directory)| directory).collect()
}

/// Major version that a `postgres` program tells: 16 for "postgres (PostgreSQL) 16.4 (Debian …)".
async fn major(postgres: &Path, account: &Account) -> Result<Option<u32>, EmbeddedError> {
    let mut command = account.command(postgres);
    command.arg("--version");
    let output = tokio::process::Command::from(command).kill_on_drop(true).output().await;
    let text = output.map_err(EmbeddedError::io(postgres))?.stdout;
    Ok(parse_major(&String::from_utf8_lossy(&text)))
}

/// Pre-releases tell "17beta1" or "18devel".
fn parse_major(text: &str) -> Option<u32> {
    let (_, version) = text.split_once("(PostgreSQL) ")?;
    version.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_parsed() {
        assert_eq!(parse_major("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n"), Some(15));
        assert_eq!(parse_major("postgres (PostgreSQL) 18beta1"), Some(18));
        assert_eq!(parse_major("postgres (PostgreSQL) "), None);
        assert_eq!(parse_major("some other program"), None);
    }

    #[test]
    fn newest_version_comes_first() {
        let parent = tempfile::tempdir().expect("a directory");
        for name in ["postgresql@9", "postgresql@16", "postgresql@16.old", "other"] {
            std::fs::create_dir(parent.path().join(name)).expect("made");
        }
        let found = versions(parent.path(), "postgresql", "bin");
        assert_eq!(found, ["postgresql@16/bin", "postgresql@9/bin"].map(|path| parent.path().join(path)));
    }
}
