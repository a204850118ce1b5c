//! The user that Postgres runs as: this process's own, or an unprivileged one if that is root.

use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::EmbeddedError;

/// Users to run Postgres as when started as root, the best first.
const UNPRIVILEGED: [&str; 2] = ["postgres", "nobody"];

/// A user to run Postgres as.
#[derive(Debug, Clone)]
pub(super) struct Account {
    pub(super) uid: u32,
    gid: u32,
    name: String,
    /// Whether it is another user than this process's.
    other: bool,
}

impl Account {
    /// Who runs the cluster in `cluster`: its owner if it is there already, so that it survives a change of the rules.
    pub(super) fn choose(cluster: &Path) -> Result<Self, EmbeddedError> {
        let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
        if !uid.is_root() {
            return Ok(Self { uid: uid.as_raw(), gid: gid.as_raw(), name: uid.as_raw().to_string(), other: false });
        }
        if let Ok(owned) = cluster.metadata()
            && owned.uid() != 0
        {
            return Ok(Self { uid: owned.uid(), gid: owned.gid(), name: owned.uid().to_string(), other: true });
        }
        let passwd = Path::new("/etc/passwd");
        let users = std::fs::read_to_string(passwd).map_err(EmbeddedError::io(passwd))?;
        UNPRIVILEGED.iter().find_map(|name| Self::in_passwd(&users, name)).ok_or(EmbeddedError::NoAccount)
    }

    fn in_passwd(users: &str, name: &str) -> Option<Self> {
        let user = users.lines().map(|line| line.split(':').collect::<Vec<_>>()).find(|user| user.first() == Some(&name))?;
        let id = |field: usize| user.get(field)?.parse::<u32>().ok();
        let (uid, gid) = (id(2)?, id(3)?);
        (uid != 0).then(|| Self { uid, gid, name: name.to_owned(), other: true })
    }

    /// A command that runs as this user, in a process group of its own (a Ctrl-C at the terminal is the server's to handle) and
    /// with none of the server's environment, which holds secrets and may hold `PG*` variables.
    pub(super) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.env_clear().env("PATH", "/usr/bin:/bin").env("LC_ALL", "C").current_dir("/").process_group(0);
        if self.other {
            // As root, std drops the supplementary groups too when it changes the user.
            command.uid(self.uid).gid(self.gid);
        }
        command
    }

    /// Gives `path` to this user.
    pub(super) fn give(&self, path: &Path) -> Result<(), EmbeddedError> {
        if self.other {
            chown(path, Some(self.uid), Some(self.gid)).map_err(EmbeddedError::io(path))?;
        }
        Ok(())
    }

    /// Fails with the directory that keeps this user out of `path`, an absolute path without symbolic links.
    pub(super) fn check_reach(&self, path: &Path) -> Result<(), EmbeddedError> {
        match self.barrier(path) {
            Some(barrier) => Err(EmbeddedError::Unreachable { barrier, user: self.name.clone() }),
            None => Ok(()),
        }
    }

    /// Whether this user can enter `path`.
    pub(super) fn reaches(&self, path: &Path) -> bool {
        self.barrier(path).is_none()
    }

    /// The topmost directory of `path` that this user cannot enter. Our own user needs no check: its errors speak for themselves.
    fn barrier(&self, path: &Path) -> Option<PathBuf> {
        if !self.other {
            return None;
        }
        let enterable = |directory: &Path| {
            directory.metadata().is_ok_and(|found| {
                let bit = if found.uid() == self.uid {
                    0o100
                } else if found.gid() == self.gid {
                    0o010
                } else {
                    0o001
                };
                found.mode() & bit != 0
            })
        };
        let mut directories: Vec<&Path> = path.ancestors().collect();
        directories.reverse();
        directories.into_iter().find(|directory| !enterable(directory)).map(Path::to_owned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_read_from_passwd() {
        let users = "root:x:0:0:root:/root:/bin/sh\npostgres:x:101:104::/var:/bin/sh\nbroken:x\nzero:x:0:7::/:/bin/sh\n";
        let found = Account::in_passwd(users, "postgres").expect("is there");
        assert_eq!((found.uid, found.gid, found.other), (101, 104, true));
        for unusable in ["nobody", "broken", "zero", ""] {
            assert!(Account::in_passwd(users, unusable).is_none(), "{unusable}");
        }
    }
}
