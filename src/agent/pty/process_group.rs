//! All processes of an agent.
//!
//! A program started in a terminal leads a session and a process group, both named by its process id; what it starts stays in them
//! unless it leaves on purpose. A job-control shell gives its jobs groups of their own, so killing goes by session as well. Daemons
//! that call `setsid`, as some agents start them, escape both, and are known by a variable that each agent has in its environment
//! with a value of its own. A program that also cleans its environment escapes: only a PID namespace or a control group holds that.

use std::fs;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::process::Child;
use uuid::Uuid;

/// Rounds of looking for survivors: a process may fork while it is being looked for.
const KILL_ROUNDS: usize = 3;

/// The variable that all processes of an agent have in their environment.
const MARK: &str = "AGENTAPI_AGENT";

/// The value of the variable, another one each time a program is started.
pub(in crate::agent) struct Mark(String);

impl Mark {
    pub(in crate::agent) fn new() -> Self {
        Self(Uuid::now_v7().to_string())
    }

    /// Name and value of the variable.
    pub(in crate::agent) fn variable(&self) -> (&str, &str) {
        (MARK, &self.0)
    }
}

/// The processes of one agent; killed when dropped.
pub(super) struct ProcessGroup {
    leader: Option<Pid>,
    /// What their environments hold.
    mark: Vec<u8>,
}

impl ProcessGroup {
    /// The session that `child` leads, and what was started with `mark`.
    pub(super) fn of(child: &Child, mark: &Mark) -> Self {
        let leader = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        Self { leader, mark: format!("{MARK}={}", mark.0).into_bytes() }
    }

    /// The program's process, until all are killed.
    pub(super) fn leader(&self) -> Option<Pid> {
        self.leader
    }

    /// Signals every process, those that are halted too.
    pub(super) fn signal(&self, signal: Signal) {
        let Some(leader) = self.leader else { return };
        let outside = self.members(leader);
        for signal in [signal, Signal::CONT] {
            send_group(leader, signal);
            for process in &outside {
                send(*process, signal);
            }
        }
    }

    /// Kills every process. Called before the leader is reaped or right after it, while its id still names this session.
    pub(super) fn kill(&mut self) {
        let Some(leader) = self.leader.take() else { return };
        send_group(leader, Signal::KILL);
        for _ in 0..KILL_ROUNDS {
            let survivors = self.members(leader);
            if survivors.is_empty() {
                break;
            }
            for process in survivors {
                send(process, Signal::KILL);
            }
        }
    }

    /// Living processes of the agent that have left the process group of `leader`.
    fn members(&self, leader: Pid) -> Vec<Pid> {
        let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
        processes
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok().and_then(Pid::from_raw))
            .filter(|process| self.has_member(*process, leader).unwrap_or(false))
            .collect()
    }

    /// Reads `/proc/<process>/stat`: after the name in parentheses come state, parent, group, session (proc(5)).
    fn has_member(&self, process: Pid, leader: Pid) -> Option<bool> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", process.as_raw_nonzero())).ok()?;
        let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
        let (state, _parent, group, session) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
        let leader = leader.as_raw_nonzero().to_string();
        let lives_outside = !matches!(state, "Z" | "X") && group != leader;
        Some(lives_outside && (session == leader || self.is_marked(process)))
    }

    /// Whether a process was started with the mark; other users' processes cannot be looked into, and are not.
    fn is_marked(&self, process: Pid) -> bool {
        let env = fs::read(format!("/proc/{}/environ", process.as_raw_nonzero())).unwrap_or_default();
        env.split(|&byte| byte == 0).any(|variable| variable == self.mark)
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
