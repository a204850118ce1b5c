//! The server's directory on disk, and the rule that only one server uses it.

use std::fs::{DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Name of the lock file in the data directory.
const LOCK_FILE: &str = "agentapi.lock";

/// Others may pass through it (an embedded Postgres runs as another user when the server is root), but not list it. What is
/// secret in it has a mode of its own.
const MODE: u32 = 0o711;

/// Makes the data directory with its parents if it is not there; leaves one that is as it is.
///
/// # Errors
/// The file system's.
pub fn create(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    DirBuilder::new().recursive(true).mode(MODE).create(path)?;
    // Again, for the umask took its part.
    std::fs::set_permissions(path, Permissions::from_mode(MODE))
}

/// Proof that this process is the one server of a data directory; dropping it, or dying in any way, gives it up.
///
/// Command-line tools that run beside the server do not take it.
#[derive(Debug)]
pub struct DataDirLock {
    /// Held open for its lock. The file itself stays: to remove it would let two servers lock two files of the same name.
    _file: File,
}

/// Why a data directory could not be locked.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// Another server has it.
    #[error(
        "another agentapi server (process {holder}) uses the data directory {}; stop it, or set AGENTAPI_DATA_DIR to another \
         directory",
        path.display()
    )]
    InUse {
        /// The data directory.
        path: PathBuf,
        /// The other server's process id, or `unknown`.
        holder: String,
    },
    /// It cannot be made or written to.
    #[error("the data directory {} cannot be used: {source}; set AGENTAPI_DATA_DIR to another one", path.display())]
    Unusable {
        /// The data directory.
        path: PathBuf,
        /// What the file system says.
        source: io::Error,
    },
}

impl DataDirLock {
    /// Makes the data directory if needed, and locks it without waiting.
    pub fn take(path: &Path) -> Result<Self, DataDirError> {
        let unusable = |source| DataDirError::Unusable { path: path.to_owned(), source };
        create(path).map_err(unusable)?;
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let mut file = options.open(path.join(LOCK_FILE)).map_err(unusable)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                let known = file.read_to_string(&mut holder).is_ok() && !holder.trim().is_empty();
                let holder = if known { holder.trim().to_owned() } else { "unknown".to_owned() };
                return Err(DataDirError::InUse { path: path.to_owned(), holder });
            }
            Err(TryLockError::Error(source)) => return Err(unusable(source)),
        }
        file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id())).map_err(unusable)?;
        Ok(Self { _file: file })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_server_a_data_directory() {
        let parent = tempfile::tempdir().expect("a directory");
        let path = parent.path().join("a/b");
        let first = DataDirLock::take(&path).expect("nobody has it");
        let second = DataDirLock::take(&path).expect_err("the first has it").to_string();
        assert!(second.contains(&std::process::id().to_string()), "{second}");
        drop(first);
        DataDirLock::take(&path).expect("given up");
    }

    #[test]
    fn a_data_directory_that_is_a_file_is_unusable() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        assert!(matches!(DataDirLock::take(&file.path().join("data")), Err(DataDirError::Unusable { .. })));
    }
}
