//! What Linux tells about processes.

use std::fs;
use std::time::Duration;

use super::Failure;

/// Memory that a process has, in bytes.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Memory {
    /// Resident, what it shares with other processes counted in full.
    pub(crate) rss: u64,
    /// Resident, what it shares divided by those who share it.
    pub(crate) pss: u64,
}

pub(crate) fn memory(pid: u32) -> Result<Memory, Failure> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let bytes = |name: &str| {
        let kib = text.lines().find_map(|line| line.strip_prefix(name)?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        kib.map(|kib| kib * 1024).ok_or_else(|| format!("no {name} of process {pid}"))
    };
    Ok(Memory { rss: bytes("Rss:")?, pss: bytes("Pss:")? })
}

/// Processor time that the threads of a process have had, to the nanosecond (`/proc/<pid>/stat` counts in hundredths of a
/// second, too coarse for an idle process). What ended threads had is not in it.
pub(crate) fn cpu(pid: u32) -> Result<Duration, Failure> {
    let mut nanos = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        // A thread may end while we look.
        let Ok(text) = fs::read_to_string(task?.path().join("schedstat")) else { continue };
        nanos += had(&text)?;
    }
    Ok(Duration::from_nanos(nanos))
}

/// The same of the thread that asks.
pub(crate) fn own_cpu() -> Result<Duration, Failure> {
    had(&fs::read_to_string("/proc/thread-self/schedstat")?).map(Duration::from_nanos)
}

/// The processor time in a `schedstat`, in nanoseconds.
fn had(schedstat: &str) -> Result<u64, Failure> {
    let nanos = schedstat.split(' ').next().and_then(|field| field.parse().ok());
    Ok(nanos.ok_or("no schedstat in this kernel")?)
}

/// The children of a process, and their names.
pub(crate) fn children(parent: u32) -> Result<Vec<(u32, String)>, Failure> {
    let mut children = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let entry = entry?;
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else { continue };
        // 17 (a name) S 1 …; the name may hold anything.
        let Some((head, tail)) = stat.rsplit_once(") ") else { continue };
        let found = tail.split(' ').nth(1).and_then(|field| field.parse().ok());
        if found == Some(parent) {
            children.push((pid, head.split_once('(').map_or("", |(_, name)| name).to_owned()));
        }
    }
    Ok(children)
}

/// Bytes that a process has written so far, to whatever.
pub(crate) fn written(pid: u32) -> Result<u64, Failure> {
    let text = fs::read_to_string(format!("/proc/{pid}/io"))?;
    let bytes = text.lines().find_map(|line| line.strip_prefix("wchar: ")?.parse().ok());
    Ok(bytes.ok_or("no count of what is written in this kernel")?)
}
