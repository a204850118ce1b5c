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

/// What a server opens besides what it knows to need: its log, its listeners, files that are read and written at this moment.
const OTHERS: usize = 64;

/// Returns how many connections this process may have open if it needs `others` files besides: half of its limit in any case.
#[must_use]
pub fn room_for_connections(others: usize) -> usize {
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(ENOUGH).min(ENOUGH);
    room(usize::try_from(limit).unwrap_or(usize::MAX), others)
}

fn room(limit: usize, others: usize) -> usize {
    limit.saturating_sub(others.saturating_add(OTHERS)).max(limit / 2)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_for_connections_is_what_others_leave_and_half_at_least() {
        for (limit, others, expected) in [(20_000, 420, 19_516), (1024, 420, 540), (256, 420, 128), (200, 0, 136)] {
            assert_eq!(room(limit, others), expected, "{limit} {others}");
        }
    }
}
