//! The files that an agent has read and written for it: those of its workspace.
//!
//! The kernel resolves every path beneath the workspace (`openat2`, `RESOLVE_BENEATH`), so that neither `..` nor a symbolic link leads
//! out of it, nor one that is put there in between. Where there is no such call (Linux before 5.6, some sandboxes), no symbolic link is
//! followed at all.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{Mode, OFlags, ResolveFlags, mkdirat, open, openat, openat2};
use rustix::io::Errno;

/// Longest text that an agent is given at once, in bytes.
const MAX_TEXT: usize = 1024 * 1024;
/// Largest file that a part is read of, in bytes.
const MAX_FILE: u64 = 16 * 1024 * 1024;
/// Deepest folder that is made for a file.
const MAX_DEPTH: usize = 64;

/// Why a file is not read or written, for the agent.
#[derive(Debug, thiserror::Error)]
pub(super) enum FileError {
    #[error("the path is not in the agent's workspace")]
    Outside,
    #[error("there is no such file")]
    NotFound,
    #[error("it is not a regular file")]
    NotRegular,
    #[error("the file is larger than 16777216 bytes")]
    TooLarge,
    #[error("the text is longer than 1048576 bytes: ask for a part of it, by line and limit")]
    TooLong,
    #[error("the file is not UTF-8 text")]
    NotText,
    #[error("it cannot be read or written: {0}")]
    Io(#[from] io::Error),
}

impl From<Errno> for FileError {
    fn from(error: Errno) -> Self {
        match error {
            Errno::NOENT | Errno::NOTDIR => Self::NotFound,
            // What leads out of the workspace, and a symbolic link where none is followed.
            Errno::XDEV | Errno::LOOP => Self::Outside,
            error => Self::Io(error.into()),
        }
    }
}

/// The files of one workspace.
#[derive(Debug, Clone)]
pub(super) struct Files {
    /// As it is named, and as it is without symbolic links.
    roots: [PathBuf; 2],
    /// What relative paths are relative to, beneath the root.
    work: PathBuf,
}

impl Files {
    /// The files beneath `root`, of which `work` is the folder that the agent works in.
    pub(super) fn new(root: &Path, work: &Path) -> Self {
        let canonical = root.canonicalize().unwrap_or_else(|_| root.to_owned());
        let work = work.strip_prefix(root).unwrap_or(Path::new("")).to_owned();
        Self { roots: [root.to_owned(), canonical], work }
    }

    /// Reads a text file: `limit` lines from the line `line` on, counted from 1.
    pub(super) fn read(&self, path: &Path, line: Option<u32>, limit: Option<u32>) -> Result<String, FileError> {
        let file = self.open(path, OFlags::RDONLY)?;
        let mut bytes = Vec::new();
        file.take(MAX_FILE + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > MAX_FILE {
            return Err(FileError::TooLarge);
        }
        let text = String::from_utf8(bytes).map_err(|_| FileError::NotText)?;
        let text = match (line, limit) {
            (None, None) => text,
            (line, limit) => {
                let skipped = usize::try_from(line.unwrap_or(1).saturating_sub(1)).unwrap_or(usize::MAX);
                let taken = limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
                text.split_inclusive('\n').skip(skipped).take(taken).collect()
            }
        };
        if text.len() > MAX_TEXT { Err(FileError::TooLong) } else { Ok(text) }
    }

    /// Writes a text file, in place of what it held; makes it, and the folders it is in, if there are none.
    pub(super) fn write(&self, path: &Path, content: &str) -> Result<(), FileError> {
        if let Some(folder) = self.beneath(path)?.parent() {
            self.make_folders(folder)?;
        }
        let mut file = self.open(path, OFlags::WRONLY | OFlags::CREATE)?;
        file.set_len(0)?;
        file.write_all(content.as_bytes())?;
        Ok(())
    }

    /// The folder that `path` names, which must be there.
    pub(super) fn folder(&self, path: &Path) -> Result<PathBuf, FileError> {
        let beneath = self.beneath(path)?;
        resolve(&self.root()?, &beneath, OFlags::PATH | OFlags::DIRECTORY)?;
        Ok(self.roots[0].join(beneath))
    }

    fn open(&self, path: &Path, flags: OFlags) -> Result<File, FileError> {
        // Opening a pipe would wait for its other end.
        let flags = flags | OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = File::from(resolve(&self.root()?, &self.beneath(path)?, flags)?);
        if file.metadata()?.is_file() { Ok(file) } else { Err(FileError::NotRegular) }
    }

    fn root(&self) -> Result<OwnedFd, FileError> {
        Ok(open(&self.roots[0], OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
    }

    /// A path from the workspace's root on. What it may lead to through `..` and symbolic links is for the kernel to tell.
    fn beneath(&self, path: &Path) -> Result<PathBuf, FileError> {
        if path.is_relative() {
            return Ok(self.work.join(path));
        }
        let stripped = self.roots.iter().find_map(|root| path.strip_prefix(root).ok());
        stripped.map(Path::to_owned).ok_or(FileError::Outside)
    }

    fn make_folders(&self, folder: &Path) -> Result<(), FileError> {
        let root = self.root()?;
        let (mut parent, mut made) = (root.try_clone()?, PathBuf::new());
        if folder.components().count() > MAX_DEPTH {
            return Err(FileError::Outside);
        }
        for component in folder.components() {
            made.push(component);
            let next = || resolve(&root, &made, OFlags::PATH | OFlags::DIRECTORY);
            parent = match (next(), component) {
                (Err(Errno::NOENT), Component::Normal(name)) => match mkdirat(parent.as_fd(), name, Mode::RWXU) {
                    Ok(()) | Err(Errno::EXIST) => next()?,
                    Err(error) => return Err(error.into()),
                },
                (found, _) => found?,
            };
        }
        Ok(())
    }
}

/// Opens what `path` names beneath `root`, or nothing.
fn resolve(root: &OwnedFd, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    let flags = flags | OFlags::CLOEXEC;
    let mode = if flags.contains(OFlags::CREATE) { Mode::RUSR | Mode::WUSR } else { Mode::empty() };
    match openat2(root, path, flags, mode, ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS) {
        Err(Errno::NOSYS | Errno::PERM) => resolve_without_links(root, path, flags, mode),
        // The kernel could not make sure in one go, since something was moved meanwhile.
        Err(Errno::AGAIN) => openat2(root, path, flags, mode, ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS),
        found => found,
    }
}

fn resolve_without_links(root: &OwnedFd, path: &Path, flags: OFlags, mode: Mode) -> Result<OwnedFd, Errno> {
    let mut folder = openat(root, ".", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let mut components = path.components().filter(|component| *component != Component::CurDir).peekable();
    while let Some(component) = components.next() {
        let Component::Normal(name) = component else { return Err(Errno::XDEV) };
        if components.peek().is_none() {
            return openat(&folder, name, flags | OFlags::NOFOLLOW, mode);
        }
        let into = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        folder = openat(&folder, name, into, Mode::empty())?;
    }
    Ok(folder)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    fn workspace() -> (tempfile::TempDir, Files) {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("agent");
        fs::create_dir_all(root.join("work/src")).unwrap();
        fs::create_dir_all(folder.path().join("other")).unwrap();
        fs::write(folder.path().join("other/secret"), "secret").unwrap();
        let files = Files::new(&root, &root.join("work"));
        (folder, files)
    }

    #[test]
    fn files_of_the_workspace_are_written_and_read_and_folders_made() {
        let (folder, files) = workspace();
        let work = folder.path().join("agent/work");
        files.write(&work.join("a/b/c.txt"), "one\ntwo\nthree").unwrap();
        assert_eq!(files.read(Path::new("a/b/c.txt"), None, None).unwrap(), "one\ntwo\nthree");
        assert_eq!(files.read(Path::new("a/../a/b/c.txt"), Some(2), Some(1)).unwrap(), "two\n");
        assert_eq!(files.read(Path::new("a/b/c.txt"), Some(9), None).unwrap(), "");
        files.write(Path::new("a/b/c.txt"), "x").unwrap();
        assert_eq!(fs::read_to_string(work.join("a/b/c.txt")).unwrap(), "x");
        symlink("b/c.txt", work.join("a/link")).unwrap();
        assert_eq!(files.read(Path::new("a/link"), None, None).unwrap(), "x", "a link that stays inside");
        assert_eq!(files.folder(&work).unwrap(), work);
    }

    #[test]
    fn nothing_leads_out_of_the_workspace() {
        let (folder, files) = workspace();
        let work = folder.path().join("agent/work");
        let other = folder.path().join("other");
        symlink(&other, work.join("absolute")).unwrap();
        symlink("../../other", work.join("relative")).unwrap();
        symlink("../../other/new", work.join("dangling")).unwrap();
        for path in [
            "../../other/secret",
            "src/../../../other/secret",
            "absolute/secret",
            "relative/secret",
            other.join("secret").to_str().unwrap(),
            "/etc/passwd",
            work.join("../../other/secret").to_str().unwrap(),
            "/proc/self/cwd",
        ] {
            let error = files.read(Path::new(path), None, None).unwrap_err();
            assert!(matches!(error, FileError::Outside), "{path}: {error:?}");
            let error = files.write(Path::new(path), "gotcha").unwrap_err();
            assert!(matches!(error, FileError::Outside), "{path}: {error:?}");
        }
        for path in ["absolute/new", "relative/new/newer", "dangling", "../../other/new", "relative/../new"] {
            assert!(files.write(Path::new(path), "gotcha").is_err(), "{path}");
        }
        assert!(files.folder(Path::new("relative")).is_err());
        assert_eq!(fs::read_to_string(other.join("secret")).unwrap(), "secret");
        assert_eq!(fs::read_dir(other).unwrap().count(), 1, "nothing was made there");
    }

    #[test]
    fn without_openat2_no_link_is_followed() {
        let (folder, files) = workspace();
        let work = folder.path().join("agent/work");
        fs::write(work.join("src/a"), "a").unwrap();
        symlink("src", work.join("link")).unwrap();
        symlink("src/a", work.join("file-link")).unwrap();
        let root = files.root().unwrap();
        let open = |path: &str| resolve_without_links(&root, Path::new(path), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
        assert!(open("work/./src/a").is_ok());
        assert!(open(".").is_ok());
        for path in ["work/link/a", "work/file-link", "work/../work/src/a", "../other/secret"] {
            assert!(open(path).is_err(), "{path}");
        }
    }

    #[test]
    fn what_is_no_text_file_or_too_large_is_refused() {
        let (folder, files) = workspace();
        let work = folder.path().join("agent/work");
        let refused = |path: &str| files.read(Path::new(path), None, None).unwrap_err();
        assert!(matches!(refused("src"), FileError::NotRegular));
        assert!(matches!(refused("none"), FileError::NotFound));
        fs::write(work.join("binary"), [0xff, 0xfe]).unwrap();
        assert!(matches!(refused("binary"), FileError::NotText));
        File::create(work.join("huge")).unwrap().set_len(MAX_FILE + 1).unwrap();
        assert!(matches!(refused("huge"), FileError::TooLarge));
        fs::write(work.join("long"), "line\n".repeat(MAX_TEXT / 4)).unwrap();
        assert!(matches!(refused("long"), FileError::TooLong));
        assert_eq!(files.read(Path::new("long"), Some(3), Some(2)).unwrap(), "line\nline\n");
        rustix::fs::mknodat(rustix::fs::CWD, work.join("pipe"), rustix::fs::FileType::Fifo, Mode::RWXU, 0).unwrap();
        assert!(matches!(refused("pipe"), FileError::NotRegular));
    }
}
