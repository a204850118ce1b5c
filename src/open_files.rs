//! How many files and connections may be open at once.
//!
//! Most systems let a process have 1024 of them and raise that, by itself, to much more: the lower, soft limit is for programs that use
//! `select`, which can count no further. A server has a connection for each viewer of an agent, and two files for each agent, so it takes
//! what it may have. The programs it starts get the limit that it was given itself.

use std::sync::OnceLock;

use rustix::process::{Pid, Resource, Rlimit, getrlimit, setrlimit};

/// More than a server needs, where there is no limit or a huge one.
const ENOUGH: u64 = 1 << 20;

/// What this process was given, if it has taken more.
static GIVEN: OnceLock<Rlimit> = OnceLock::new();

/// Takes as many as this process may have. What fails is logged: it goes on with what it has.
pub fn raise() {
    let given = getrlimit(Resource::Nofile);
    let most = given.maximum.unwrap_or(ENOUGH).min(ENOUGH);
    if given.current.is_none_or(|current| current >= most) {
        return;
    }
    match setrlimit(Resource::Nofile, Rlimit { current: Some(most), ..given }) {
        Ok(()) => {
            let _known_already = GIVEN.set(given);
            tracing::debug!(from = given.current, to = most, "more files may be open at once");
        }
        Err(error) => tracing::warn!(%error, limit = given.current, "the limit of open files cannot be raised"),
    }
}

/// Gives a process that this one has started the limit that this one was given.
pub fn give_back(process: Pid) {
    #[cfg(target_os = "linux")]
    if let Some(given) = GIVEN.get()
        && let Err(error) = rustix::process::prlimit(Some(process), Resource::Nofile, *given)
    {
        // Most likely it has ended already.
        tracing::debug!(%error, "a program keeps the raised limit of open files");
    }
    #[cfg(not(target_os = "linux"))]
    let _keeps_the_limit = process;
}
