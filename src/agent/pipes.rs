//! A program with pipes, where it needs no terminal.

use std::process::Stdio;

use tokio::process::{ChildStderr, ChildStdin, ChildStdout, Command};

use super::launch::{Launch, SpawnError};
use super::pty::Program;
use super::pty::process_group::Mark;

/// A program that leads a process group of its own, and its pipes. Dropping the program kills it with all it started.
pub(super) struct Piped {
    pub(super) program: Program,
    /// What it reads; nothing unless a pipe was asked for.
    pub(super) stdin: Option<ChildStdin>,
    pub(super) stdout: Option<ChildStdout>,
    pub(super) stderr: Option<ChildStderr>,
}

/// Starts a program with pipes to what it writes, and with this standard input.
pub(super) fn spawn(launch: &Launch, stdin: Stdio) -> Result<Piped, SpawnError> {
    let program = launch.resolve()?;
    let mark = Mark::new();
    let (name, value) = mark.variable();
    let mut child = Command::new(program)
        .args(&launch.args)
        .current_dir(&launch.directory)
        .env_clear()
        .envs(&launch.env)
        .env(name, value)
        .stdin(stdin)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| launch.explain(error))?;
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    Ok(Piped { program: Program::of(child, &mark), stdin, stdout, stderr })
}
