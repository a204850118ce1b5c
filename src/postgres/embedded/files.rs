//! Where the embedded Postgres keeps what, and the locks by which processes agree about it.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::account::Account;
use super::{EmbeddedError, PORT};

/// Longest path of a socket that every system takes (macOS: 103 bytes, Linux: 107).
const SOCKET_PATH_LIMIT: usize = 103;
/// Bytes of the log's end that an error quotes.
const TAIL: u64 = 2_000;

/// The files of one cluster. `home` and what is directly in it belong to the server's user, so that a server that is root never
/// writes where the user that Postgres runs as could have put a symbolic link; `cluster` and `socket` belong to that user.
#[derive(Debug)]
pub(super) struct Files {
    home: PathBuf,
    /// The cluster (Postgres calls it the data directory).
    pub(super) cluster: PathBuf,
    /// Directory of the socket. Its mode is what keeps other users out: Postgres asks nobody for a password.
    pub(super) socket: PathBuf,
}

impl Files {
    /// Makes the data directory and `postgres` in it, if needed.
    pub(super) fn prepare(data_dir: &Path) -> Result<Self, EmbeddedError> {
        crate::data_dir::create(data_dir).map_err(EmbeddedError::io(data_dir))?;
        let data_dir = data_dir.canonicalize().map_err(EmbeddedError::io(data_dir))?;
        let home = data_dir.join("postgres");
        crate::data_dir::create(&home).map_err(EmbeddedError::io(&home))?;
        Ok(Self { cluster: home.join("data"), socket: socket_directory(&home), home })
    }

    /// Makes the name of a new cluster durable.
    pub(super) fn sync_home(&self) -> Result<(), EmbeddedError> {
        File::open(&self.home).and_then(|home| home.sync_all()).map_err(EmbeddedError::io(&self.home))
    }

    /// Held by who starts or stops the cluster.
    pub(super) fn turn(&self) -> Result<File, EmbeddedError> {
        self.lock_file("turn.lock")
    }

    /// Held, shared, by every process that uses the cluster: the last one stops it.
    pub(super) fn users(&self) -> Result<File, EmbeddedError> {
        self.lock_file("users.lock")
    }

    /// Held by the cluster's own processes, who inherit it, so it tells for certain whether one of them lives. A process id
    /// would not: after a crash, and in every new container, it may be another program's.
    pub(super) fn life(&self) -> Result<File, EmbeddedError> {
        self.lock_file("alive.lock")
    }

    /// Whether no process of the cluster lives. Unknown counts as no.
    pub(super) fn is_dead(&self) -> bool {
        // Shared, so that two who look at the same time do not take each other for Postgres.
        self.life().is_ok_and(|life| life.try_lock_shared().is_ok())
    }

    fn lock_file(&self, name: &str) -> Result<File, EmbeddedError> {
        let path = self.home.join(name);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        options.open(&path).map_err(EmbeddedError::io(&path))
    }

    /// Path of Postgres's log.
    pub(super) fn log(&self) -> PathBuf {
        self.home.join("server.log")
    }

    /// An empty log; the one before is kept as `server.log.1`.
    pub(super) fn fresh_log(&self) -> Result<File, EmbeddedError> {
        let log = self.log();
        match std::fs::rename(&log, self.home.join("server.log.1")) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(EmbeddedError::io(&log)(error)),
            _ => {}
        }
        OpenOptions::new().append(true).create(true).mode(0o600).open(&log).map_err(EmbeddedError::io(&log))
    }

    /// The last lines of the log.
    pub(super) fn log_tail(&self) -> String {
        let read = || {
            let mut log = File::open(self.log())?;
            let length = log.metadata()?.len();
            log.seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
            let mut tail = Vec::new();
            log.read_to_end(&mut tail)?;
            Ok::<_, std::io::Error>(String::from_utf8_lossy(&tail).trim_end().to_owned())
        };
        read().unwrap_or_else(|error| format!("(unreadable: {error})"))
    }

    /// Clears what a cluster that died without warning left behind. Only for who holds [`Files::life`]: Postgres itself would
    /// take these files for a living server's if their process id is now another program's.
    pub(super) fn clear_remains(&self, account: &Account) -> Result<(), EmbeddedError> {
        let pid_file = self.cluster.join("postmaster.pid");
        gone(std::fs::remove_file(&pid_file)).map_err(EmbeddedError::io(&pid_file))?;
        // If it is another user's, then it cannot be removed, and is found to be so just below.
        let _ = std::fs::remove_dir_all(&self.socket);
        match DirBuilder::new().mode(0o700).create(&self.socket) {
            Ok(()) => account.give(&self.socket)?,
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(EmbeddedError::io(&self.socket)(error)),
        }
        self.check_socket_directory(account)
    }

    /// Fails unless only `account` can have made the socket.
    pub(super) fn check_socket_directory(&self, account: &Account) -> Result<(), EmbeddedError> {
        let found = self.socket.symlink_metadata().map_err(EmbeddedError::io(&self.socket))?;
        if found.is_dir() && found.uid() == account.uid && found.mode() & 0o7777 == 0o700 {
            Ok(())
        } else {
            Err(EmbeddedError::SocketDirectory { path: self.socket.clone() })
        }
    }

    /// An empty directory of `account` to make a cluster in, before it is renamed to `cluster`.
    pub(super) fn fresh_unfinished(&self, account: &Account) -> Result<PathBuf, EmbeddedError> {
        let path = self.home.join("data.new");
        gone(std::fs::remove_dir_all(&path)).map_err(EmbeddedError::io(&path))?;
        DirBuilder::new().mode(0o700).create(&path).map_err(EmbeddedError::io(&path))?;
        account.give(&path)?;
        Ok(path)
    }
}

/// `result` of a removal, where absence is as good.
fn gone(result: std::io::Result<()>) -> std::io::Result<()> {
    result.or_else(|error| if error.kind() == ErrorKind::NotFound { Ok(()) } else { Err(error) })
}

/// Beside the cluster, or in `/tmp` by a name that every process derives alike if the path would be too long for a socket.
/// Not in `TMPDIR`: a command-line tool may have another one than the server.
fn socket_directory(home: &Path) -> PathBuf {
    let beside = home.join("run");
    if beside.join(format!(".s.PGSQL.{PORT}")).as_os_str().len() <= SOCKET_PATH_LIMIT {
        return beside;
    }
    let hash = hex::encode(Sha256::digest(home.as_os_str().as_bytes()));
    Path::new("/tmp").join(format!("agentapi-{}", &hash[..16]))
}

/// Takes `lock` if it is free.
pub(super) fn try_lock(lock: &File, path: &Path) -> Result<bool, EmbeddedError> {
    match lock.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(EmbeddedError::io(path)(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_path_moves_the_socket_to_tmp() {
        assert_eq!(socket_directory(Path::new("/srv/data/postgres")), Path::new("/srv/data/postgres/run"));
        let long = PathBuf::from(format!("/{}", "x".repeat(90)));
        let moved = socket_directory(&long);
        assert!(moved.starts_with("/tmp") && moved.as_os_str().len() < 40, "{moved:?}");
        assert_ne!(moved, socket_directory(&long.join("y")));
    }
}
