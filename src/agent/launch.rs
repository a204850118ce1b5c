//! What a program is started with.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};

/// A program to start: which, with what arguments, where, in what environment.
#[derive(Clone, PartialEq, Eq)]
pub struct Launch {
    /// The program: a path, or a name to be looked for in the `PATH` of [`Self::env`].
    pub program: String,
    /// Its arguments.
    pub args: Vec<String>,
    /// The directory it starts in; a relative path of the program is relative to it.
    pub directory: PathBuf,
    /// Its environment; nothing of the server's is added but a mark by which its processes are known.
    pub env: BTreeMap<OsString, OsString>,
}

impl fmt::Debug for Launch {
    /// Without the values of the environment, which may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Launch")
            .field("program", &self.program)
            .field("directory", &self.directory)
            .field("env", &self.env.keys().collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

/// Why a program could not be started.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    /// There is no such program: the caller's mistake.
    #[error("program {program:?} was not found")]
    NotFound {
        /// The program as it was asked for.
        program: String,
    },
    /// The program is there but cannot be run: the caller's mistake.
    #[error("program {program:?} is not executable")]
    NotExecutable {
        /// The program as it was asked for.
        program: String,
    },
    /// The environment or an argument holds what a program cannot be given (a NUL, a name with `=`): the caller's mistake.
    #[error("{0}")]
    Invalid(&'static str),
    /// The machine failed.
    #[error("the program could not be started")]
    Io(#[from] io::Error),
}

impl Launch {
    /// The program's file.
    pub(super) fn resolve(&self) -> Result<PathBuf, SpawnError> {
        self.check()?;
        if self.program.contains('/') {
            return self.executable(self.directory.join(&self.program));
        }
        let path = self.env.get(OsStr::new("PATH")).map(OsString::as_os_str).unwrap_or_default();
        let mut refused = None;
        for directory in std::env::split_paths(path).filter(|directory| directory.is_absolute()) {
            match self.executable(directory.join(&self.program)) {
                Err(SpawnError::NotFound { .. }) => {}
                Err(error) => refused = Some(error),
                Ok(file) => return Ok(file),
            }
        }
        Err(refused.unwrap_or_else(|| self.not_found()))
    }

    fn check(&self) -> Result<(), SpawnError> {
        let has_nul = |text: &OsStr| text.as_encoded_bytes().contains(&0);
        if self.program.is_empty() {
            return Err(SpawnError::Invalid("the program has no name"));
        }
        if has_nul(self.program.as_ref()) || self.args.iter().any(|arg| has_nul(arg.as_ref())) {
            return Err(SpawnError::Invalid("the command holds a NUL"));
        }
        let bad = |name: &OsString| name.is_empty() || name.as_encoded_bytes().contains(&b'=') || has_nul(name);
        if self.env.iter().any(|(name, value)| bad(name) || has_nul(value)) {
            return Err(SpawnError::Invalid("the environment holds a name or a value that cannot be set"));
        }
        Ok(())
    }

    fn executable(&self, file: PathBuf) -> Result<PathBuf, SpawnError> {
        match std::fs::metadata(&file) {
            Err(error) => Err(self.explain(error)),
            Ok(found) if found.is_file() && access(&file, Access::EXEC_OK).is_ok() => Ok(file),
            Ok(_) => Err(SpawnError::NotExecutable { program: self.program.clone() }),
        }
    }

    fn not_found(&self) -> SpawnError {
        SpawnError::NotFound { program: self.program.clone() }
    }

    /// Tells a program that cannot be run from a machine that failed.
    pub(super) fn explain(&self, error: io::Error) -> SpawnError {
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory if self.directory.is_dir() => self.not_found(),
            io::ErrorKind::PermissionDenied => SpawnError::NotExecutable { program: self.program.clone() },
            // Neither a binary of this machine nor a script with an interpreter line.
            _ if error.raw_os_error() == Some(rustix::io::Errno::NOEXEC.raw_os_error()) => {
                SpawnError::NotExecutable { program: self.program.clone() }
            }
            _ => SpawnError::Io(error),
        }
    }
}

/// Variables that an agent gets as the server has them.
const INHERITED: [&str; 4] = ["PATH", "LANG", "LC_ALL", "TZ"];
/// How a program finds out what its terminal can do.
const TERM: &str = "xterm-256color";
/// Variables with these beginnings are the server's own, whether or not this version knows them.
const OWN_PREFIXES: [&str; 5] = ["AGENTAPI_", "DATABASE_", "REDIS_", "TOKEN_ENCRYPTION_KEY", "UPSTASH_"];

/// An agent's environment, built from nothing: a few variables of the `server`'s, those in `passthrough` unless they are the
/// server's own settings, its `home`, and last the agent's `own`, which win.
pub fn environment(
    server: impl IntoIterator<Item = (OsString, OsString)>,
    passthrough: &[String],
    own: &BTreeMap<String, String>,
    home: &Path,
) -> BTreeMap<OsString, OsString> {
    let settings: Vec<String> = crate::config::Config::default().show().into_iter().map(|(name, _)| name).collect();
    let is_own =
        |name: &str| OWN_PREFIXES.iter().any(|prefix| name.starts_with(prefix)) || settings.iter().any(|setting| setting == name);
    let passed = |name: &OsString| {
        name.to_str()
            .is_some_and(|name| INHERITED.contains(&name) || (!is_own(name) && passthrough.iter().any(|passed| passed == name)))
    };
    let mut env: BTreeMap<_, _> = server.into_iter().filter(|(name, _)| passed(name)).collect();
    env.insert("TERM".into(), TERM.into());
    env.insert("HOME".into(), home.into());
    env.extend(own.iter().map(|(name, value)| (name.into(), value.into())));
    env
}

/// The terminal type that agents of a single-agent server are told, as coder/agentapi tells them.
const SINGLE_AGENT_TERM: &str = "vt100";
/// The token of `agentapi attach`; no setting of a server.
const ATTACH_TOKEN: &str = "AGENTAPI_TOKEN";

/// The environment of the one agent of a server that runs for its user: all of the `server`'s, without what would let the agent in
/// where only servers are let in.
pub fn whole_environment(server: impl IntoIterator<Item = (OsString, OsString)>) -> BTreeMap<OsString, OsString> {
    let secrets = crate::config::Config::secrets();
    let is_secret = |name: &OsString| {
        let name = name.to_string_lossy();
        name == ATTACH_TOKEN || secrets.iter().any(|secret| name == *secret) || name.starts_with("UPSTASH_")
    };
    let mut env: BTreeMap<_, _> = server.into_iter().filter(|(name, _)| !is_secret(name)).collect();
    env.insert("TERM".into(), SINGLE_AGENT_TERM.into());
    env
}

#[cfg(test)]
mod tests;
