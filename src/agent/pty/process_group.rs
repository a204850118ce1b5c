//! All processes of an agent's session.
//!
//! A program started in a terminal leads a session and a process group, both named by its process id; what it starts stays in them
//! unless it leaves on purpose. A job-control shell gives its jobs groups of their own, so killing goes by session as well.
//! Daemons that call `setsid` escape both: only a PID namespace or a control group would hold them.

use std::fs;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::process::Child;

/// Rounds of looking for survivors: a process may fork while it is being looked for.
const KILL_ROUNDS: usize = 3;

/// The processes of one session; killed when dropped.
pub(super) struct ProcessGroup(Option<Pid>);

impl ProcessGroup {
    /// The session that `child` leads.
    pub(super) fn of(child: &Child) -> Self {
        Self(child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw))
    }

    /// Signals every process, those that are halted too.
    pub(super) fn signal(&self, signal: Signal) {
        let Some(leader) = self.0 else { return };
        let outside = members(leader);
        for signal in [signal, Signal::CONT] {
            send_group(leader, signal);
            for process in &outside {
                send(*process, signal);
            }
        }
    }

    /// Kills every process. Called before the leader is reaped or right after it, while its id still names this session.
    pub(super) fn kill(&mut self) {
        let Some(leader) = self.0.take() else { return };
        send_group(leader, Signal::KILL);
        for _ in 0..KILL_ROUNDS {
            let survivors = members(leader);
            if survivors.is_empty() {
                break;
            }
            for process in survivors {
                send(process, Signal::KILL);
            }
        }
    }
}

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Signals a group. It may be gone already: that is what was wanted.
fn send_group(leader: Pid, signal: Signal) {
    let _gone = kill_process_group(leader, signal);
}

/// Signals one process. It may be gone already: that is what was wanted.
fn send(process: Pid, signal: Signal) {
    let _gone = kill_process(process, signal);
}

/// Living processes of the session of `leader` that have left its process group.
fn members(leader: Pid) -> Vec<Pid> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    processes
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok().and_then(Pid::from_raw))
        .filter(|process| in_session(*process, leader).unwrap_or(false))
        .collect()
}

/// Reads `/proc/<process>/stat`: after the name in parentheses come state, parent, group, session (proc(5)).
fn in_session(process: Pid, leader: Pid) -> Option<bool> {
    let stat = fs::read_to_string(format!("/proc/{}/stat", process.as_raw_nonzero())).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let (state, _parent, group, session) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
    let leader = leader.as_raw_nonzero().to_string();
    Some(!matches!(state, "Z" | "X") && session == leader && group != leader)
}
