//! What can go wrong, and what to do about it.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Why the embedded Postgres does not run or does not stop.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddedError {
    /// No Postgres binaries.
    #[error(
        "no PostgreSQL is installed (looked for initdb, pg_ctl and postgres in {}). Install it (Debian: apt-get install \
         postgresql; macOS: brew install postgresql@16), or set DATABASE_URL to a server that runs elsewhere",
        list(searched)
    )]
    NotInstalled {
        /// Where they were looked for.
        searched: Vec<PathBuf>,
    },
    /// Binaries, but none of the version that made the cluster.
    #[error(
        "the database in {} was made by PostgreSQL {wanted}, but only PostgreSQL {} is installed. Install PostgreSQL {wanted} \
         beside it, or move the database with pg_upgrade",
        cluster.display(),
        list_majors(found)
    )]
    WrongVersion {
        /// The cluster's directory.
        cluster: PathBuf,
        /// Major version that made the cluster.
        wanted: u32,
        /// Major versions that are installed.
        found: Vec<u32>,
    },
    /// PostgreSQL refuses to run as root and there is nobody else to run it as.
    #[error(
        "PostgreSQL does not run as root, and there is no user `postgres` or `nobody` to run it as. Make one, run agentapi as \
         another user, or set DATABASE_URL"
    )]
    NoAccount,
    /// The user that Postgres runs as cannot get to the data directory.
    #[error(
        "PostgreSQL runs as user `{user}` because agentapi runs as root, and that user cannot enter {}. Set AGENTAPI_DATA_DIR \
         to a directory elsewhere, such as /var/lib/agentapi, or allow it with: chmod o+x {}",
        barrier.display(),
        barrier.display()
    )]
    Unreachable {
        /// The directory that cannot be entered.
        barrier: PathBuf,
        /// The user that Postgres runs as.
        user: String,
    },
    /// A file or a program could not be used.
    #[error("{} cannot be used: {source}", path.display())]
    Io {
        /// The file, directory or program.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The directory for the socket is somebody else's.
    #[error(
        "{}, the directory for PostgreSQL's socket, is not a private directory of the user that PostgreSQL runs as. Remove it, \
         or set AGENTAPI_DATA_DIR to a shorter path so that the socket can live there",
        path.display()
    )]
    SocketDirectory {
        /// The directory.
        path: PathBuf,
    },
    /// `initdb` failed.
    #[error("PostgreSQL's initdb failed: {output}")]
    Initdb {
        /// What it said.
        output: String,
    },
    /// Postgres ended instead of starting.
    #[error("PostgreSQL did not start. The end of its log {}:\n{tail}", log.display())]
    Exited {
        /// Its log file.
        log: PathBuf,
        /// The log's last lines.
        tail: String,
    },
    /// Postgres runs, but does not let us in.
    #[error("PostgreSQL took no connection for {waited:?} ({reason}). The end of its log {}:\n{tail}", log.display())]
    NotReady {
        /// How long it was tried.
        waited: Duration,
        /// Why the last connection failed.
        reason: String,
        /// Its log file.
        log: PathBuf,
        /// The log's last lines.
        tail: String,
    },
    /// Another process has been starting or stopping the cluster for too long.
    #[error("another agentapi process has been starting or stopping PostgreSQL for {waited:?}")]
    Busy {
        /// How long we waited for our turn.
        waited: Duration,
    },
    /// Postgres did not stop, not even when told to at once.
    #[error("PostgreSQL did not stop within {waited:?}")]
    Stuck {
        /// How long it was given.
        waited: Duration,
    },
}

impl EmbeddedError {
    /// For `map_err` on what touches `path`.
    pub(super) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self + '_ {
        |source| Self::Io { path: path.to_owned(), source }
    }
}

fn list(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}

fn list_majors(majors: &[u32]) -> String {
    majors.iter().map(u32::to_string).collect::<Vec<_>>().join(" and ")
}
