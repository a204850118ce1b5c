//! Files that users give their agent.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use sha2::{Digest, Sha256};

use super::workspace::{blocking, private_dir, remove_folder};

/// Largest file that is taken for an agent.
pub const MAX_UPLOAD_BYTES: usize = 10 * 1024 * 1024;
/// Longest name of a file that file systems take.
const MAX_NAME_BYTES: usize = 255;

/// A folder of uploaded files, open to the server's user only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uploads {
    folder: PathBuf,
}

impl Uploads {
    /// The folder at this path, which need not exist yet.
    #[must_use]
    pub const fn at(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// Keeps a file for the agent under a name of its own content, `<16 hex digits>/<base name of name>`. The same content with
    /// the same name is the same file. Returns its path.
    ///
    /// # Errors
    /// If it cannot be written.
    pub async fn keep(&self, name: &str, content: Vec<u8>) -> io::Result<PathBuf> {
        let digest = hex::encode(&Sha256::digest(&content)[..8]);
        let folder = self.folder.join(digest);
        let path = folder.join(base_name(name));
        let kept = path.clone();
        blocking(move || {
            private_dir().recursive(true).create(&folder)?;
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path)?.write_all(&content)
        })
        .await?;
        Ok(kept)
    }

    /// Removes the folder with all files; one that does not exist is no error.
    ///
    /// # Errors
    /// If something in it cannot be removed.
    pub async fn remove(&self) -> io::Result<()> {
        remove_folder(self.folder.clone()).await
    }
}

/// The last component of a name that a client gave, which names nothing outside its folder.
pub(super) fn base_name(name: &str) -> &str {
    let name = name.rsplit('/').next().unwrap_or_default();
    let fits = !matches!(name, "" | "." | "..") && name.len() <= MAX_NAME_BYTES && !name.contains('\0');
    if fits { name } else { "file" }
}
