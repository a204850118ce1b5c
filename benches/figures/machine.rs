//! What the figures were measured on.

use std::fmt::Write;
use std::fs;
use std::process::Command;

use super::Failure;

/// Machine, versions, commit and command, in Markdown.
pub(crate) fn describe() -> Result<String, Failure> {
    let cores = std::thread::available_parallelism()?;
    let cpus = fs::read_to_string("/proc/cpuinfo")?;
    let model = field(&cpus, "model name").unwrap_or("of unknown model");
    let memory = fs::read_to_string("/proc/meminfo")?;
    let kib: u64 = field(&memory, "MemTotal").and_then(|text| text.split(' ').next()?.parse().ok()).unwrap_or(0);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let load = fs::read_to_string("/proc/loadavg")?;
    let load = load.split(' ').next().unwrap_or("unknown");
    let arguments: Vec<String> =
        std::env::args().skip(1).filter(|argument| !matches!(argument.as_str(), "--bench" | "--markdown")).collect();
    let command = match arguments.as_slice() {
        [] => "make bench".to_owned(),
        arguments => format!("make bench BENCH='{}'", arguments.join(" ")),
    };
    let mut text = String::new();
    writeln!(text, "- Machine: {cores} cores, {model}; {} GiB of memory; Linux {}", kib / 1024 / 1024, kernel.trim())?;
    writeln!(text, "- Load average when the run began: {load} (other work on the machine makes every figure worse)")?;
    writeln!(text, "- Commit: {}", commit())?;
    writeln!(text, "- Command: `{command}`")?;
    Ok(text)
}

fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let (_, value) = text.lines().find(|line| line.starts_with(name))?.split_once(':')?;
    Some(value.trim())
}

fn commit() -> String {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let Some(commit) = git(&["rev-parse", "--short=12", "HEAD"]) else { return "unknown".to_owned() };
    match git(&[
        "status",
        "--porcelain",
        "--untracked-files=no",
        "--",
        "src",
        "migrations",
        "benches",
        "Cargo.toml",
        "Cargo.lock",
    ]) {
        Some(changes) if changes.is_empty() => commit,
        _ => format!("{commit}, with changes"),
    }
}
