//! The directories of an agent: where it works, and its home.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::uploads::Uploads;
use crate::domain::{AgentId, AgentType, TenantId};

/// In files of a home template, stands for the absolute path of the agent's working directory.
const WORKSPACE_MARK: &str = "@WORKSPACE@";
/// Larger files are copied as they are.
const MAX_TEXT: u64 = 1 << 20;
/// Bounds of a template: more is taken for a mistake.
const MAX_ENTRIES: usize = 10_000;
/// See [`MAX_ENTRIES`].
const MAX_BYTES: u64 = 1 << 30;
/// See [`MAX_ENTRIES`].
const MAX_DEPTH: usize = 32;

/// `<data directory>/workspaces/<tenant>/<agent>/`, open to the server's user only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workspace {
    root: PathBuf,
}

impl Workspace {
    /// The place of an agent's workspace, whether or not it exists.
    ///
    /// # Errors
    /// If `data_dir` is relative and there is no current directory.
    pub fn of(data_dir: &Path, tenant: TenantId, agent: AgentId) -> io::Result<Self> {
        let data_dir = std::path::absolute(data_dir)?;
        Ok(Self { root: data_dir.join("workspaces").join(tenant.to_string()).join(agent.to_string()) })
    }

    /// All of it.
    #[must_use]
    pub fn root(&self) -> PathBuf {
        self.root.clone()
    }

    /// Where the agent works: its current directory.
    #[must_use]
    pub fn work(&self) -> PathBuf {
        self.root.join("work")
    }

    /// The agent's home, with its settings and credentials.
    #[must_use]
    pub fn home(&self) -> PathBuf {
        self.root.join("home")
    }

    /// Makes what does not exist yet. A *new* home is filled from the folder `<home_template>/<agent type>/`, if there is one;
    /// a home that exists is the agent's own. Symbolic links and special files of the template are left out.
    ///
    /// # Errors
    /// If a directory cannot be made, or the template cannot be read or is too large; a home half filled is removed.
    pub async fn create(&self, agent_type: AgentType, home_template: Option<&Path>) -> io::Result<()> {
        let workspace = self.clone();
        let template = home_template.map(|folder| folder.join(agent_type.as_str()));
        blocking(move || workspace.create_now(template.as_deref())).await
    }

    /// Files that were uploaded for the agent.
    #[must_use]
    pub fn uploads(&self) -> Uploads {
        Uploads::at(self.root.join("uploads"))
    }

    /// Removes the workspace with everything in it; one that does not exist is no error.
    ///
    /// # Errors
    /// If something in it cannot be removed.
    pub async fn remove(&self) -> io::Result<()> {
        remove_folder(self.root.clone()).await
    }

    fn create_now(&self, template: Option<&Path>) -> io::Result<()> {
        private_dir().recursive(true).create(self.work())?;
        let home = self.home();
        match private_dir().create(&home) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
            result => result?,
        }
        let Some(template) = template.filter(|folder| folder.is_dir()) else { return Ok(()) };
        let mut copy = Copy { workspace: self.work().to_string_lossy().into_owned(), entries: 0, bytes: 0 };
        copy.folder(template, &home, 0).or_else(|error| fs::remove_dir_all(&home).and(Err(error)))
    }
}

/// Removes a folder with everything in it; one that does not exist is no error.
pub(super) async fn remove_folder(folder: PathBuf) -> io::Result<()> {
    blocking(move || match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    })
    .await
}

pub(super) async fn blocking(work: impl FnOnce() -> io::Result<()> + Send + 'static) -> io::Result<()> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

pub(super) fn private_dir() -> DirBuilder {
    let mut builder = DirBuilder::new();
    builder.mode(0o700);
    builder
}

/// A copy of a template, counted.
struct Copy {
    workspace: String,
    entries: usize,
    bytes: u64,
}

impl Copy {
    fn folder(&mut self, from: &Path, to: &Path, depth: usize) -> io::Result<()> {
        for entry in fs::read_dir(from)? {
            let entry = entry?;
            self.entries += 1;
            if self.entries > MAX_ENTRIES || depth > MAX_DEPTH {
                return Err(io::Error::other("the home template has too many files or folders"));
            }
            let (kind, to) = (entry.file_type()?, to.join(entry.file_name()));
            if kind.is_dir() {
                private_dir().create(&to)?;
                self.folder(&entry.path(), &to, depth + 1)?;
            } else if kind.is_file() {
                self.file(&entry.path(), &to)?;
            }
        }
        Ok(())
    }

    fn file(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let found = fs::symlink_metadata(from)?;
        self.bytes = self.bytes.saturating_add(found.len());
        if self.bytes > MAX_BYTES {
            return Err(io::Error::other("the home template is too large"));
        }
        let mode = if found.permissions().mode() & 0o100 == 0 { 0o600 } else { 0o700 };
        let mut target = OpenOptions::new().write(true).create_new(true).mode(mode).open(to)?;
        if found.len() > MAX_TEXT {
            io::copy(&mut fs::File::open(from)?, &mut target)?;
            return Ok(());
        }
        match String::from_utf8(fs::read(from)?) {
            Ok(text) => target.write_all(text.replace(WORKSPACE_MARK, &self.workspace).as_bytes()),
            Err(binary) => target.write_all(binary.as_bytes()),
        }
    }
}

#[cfg(test)]
mod tests;
