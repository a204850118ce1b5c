//! The file that says which process runs, and keeps a second one from starting.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process;

use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};

use crate::cli::Failure;

/// Holds this process' id; removed when dropped, if it still does.
#[derive(Debug)]
pub(super) struct PidFile {
    path: PathBuf,
}

impl PidFile {
    /// Writes the file, with its folders, unless it names another process that lives.
    pub(super) fn write(path: PathBuf) -> Result<Self, Failure> {
        // In a container, each start may have the same id: what names ourselves is what an earlier start left.
        if let Some(pid) = read(&path).filter(|pid| *pid != own()).filter(|pid| is_alive(*pid)) {
            return Err(format!("another instance is already running with PID {pid} (PID file: {})", path.display()).into());
        }
        replace(&path).map_err(|error| format!("failed to write PID file {}: {error}", path.display()))?;
        Ok(Self { path })
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        if read(&self.path) == Some(own())
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::warn!(%error, "the PID file cannot be removed");
        }
    }
}

fn own() -> i32 {
    process::id().cast_signed()
}

/// Puts the file in place of one that may be there, whole.
fn replace(path: &Path) -> io::Result<()> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    let mut new = path.as_os_str().to_owned();
    new.push(format!(".{}", own()));
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    let written = writeln!(file, "{}", own()).and_then(|()| fs::rename(&new, path));
    written.or_else(|error| fs::remove_file(&new).and(Err(error)))
}

fn read(path: &Path) -> Option<i32> {
    fs::read_to_string(path).ok()?.trim().parse().ok().filter(|pid| *pid > 0)
}

fn is_alive(pid: i32) -> bool {
    Pid::from_raw(pid).is_some_and(|pid| matches!(test_kill_process(pid), Ok(()) | Err(Errno::PERM)))
}
