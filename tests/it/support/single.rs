//! `agentapi server`, started for a test.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStderr, ChildStdin, Command};

use super::{Client, PATIENCE};

/// Answers each line after "you said ".
pub(crate) const ECHO: [&str; 3] = ["bash", "-c", "while read -rp '> ' line; do echo \"you said $line\"; done"];

/// What a server of one agent is started with.
#[derive(Clone)]
pub(crate) struct SingleBuilder {
    flags: Vec<String>,
    agent: Vec<String>,
    env: BTreeMap<String, String>,
    stdin: Input,
    directory: Arc<TempDir>,
}

#[derive(Clone)]
enum Input {
    Nothing,
    Text(String),
    Open,
}

/// A running server. Killed when dropped.
pub(crate) struct Single {
    pub(crate) url: String,
    pub(crate) client: Client,
    pub(crate) stdin: Option<ChildStdin>,
    process: Child,
    stderr: ChildStderr,
    _directory: Arc<TempDir>,
}

/// How a server ended.
#[derive(Debug)]
pub(crate) struct End {
    pub(crate) code: Option<i32>,
    pub(crate) stderr: String,
}

impl SingleBuilder {
    /// Around this program, on a free port.
    pub(crate) fn new(agent: &[&str]) -> Self {
        let directory = Arc::new(tempfile::tempdir().expect("a directory"));
        let owned = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect();
        let env = [("PATH", std::env::var("PATH").expect("a PATH")), ("AGENTAPI_PORT", "0".to_owned())];
        Self {
            flags: Vec::new(),
            agent: owned(agent),
            env: env.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
            stdin: Input::Nothing,
            directory,
        }
        .env("TMPDIR", "/tmp")
    }

    /// Around an agent that follows a script: see `scripted_agent.sh`.
    pub(crate) fn scripted(script: &str) -> Self {
        let agent = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/support/scripted_agent.sh");
        let builder = Self::new(&["bash", &agent.display().to_string(), "script"]);
        std::fs::write(builder.path("script"), script).expect("written");
        builder
    }

    pub(crate) fn flags(mut self, flags: &[&str]) -> Self {
        self.flags.extend(flags.iter().map(|&flag| flag.to_owned()));
        self
    }

    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.env.insert(name.to_owned(), value.to_owned());
        self
    }

    /// With this on standard input, and then its end.
    pub(crate) fn stdin(self, text: &str) -> Self {
        Self { stdin: Input::Text(text.to_owned()), ..self }
    }

    /// With a pipe as standard input that nobody closes.
    pub(crate) fn open_stdin(self) -> Self {
        Self { stdin: Input::Open, ..self }
    }

    /// A file of this server's directory, which is the current one of its agent.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    async fn spawn(&self) -> Child {
        let mut command = Command::new(env!("CARGO_BIN_EXE_agentapi"));
        command.arg("server").args(&self.flags).arg("--").args(&self.agent);
        command.current_dir(self.directory.path()).env_clear().envs(&self.env).kill_on_drop(true);
        let stdin = if matches!(self.stdin, Input::Nothing) { Stdio::null() } else { Stdio::piped() };
        let mut child = command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        if let Input::Text(text) = &self.stdin {
            let mut stdin = child.stdin.take().expect("piped");
            stdin.write_all(text.as_bytes()).await.expect("it reads");
        }
        child
    }

    /// Starts it and waits until it says that it is ready.
    pub(crate) async fn start(&self) -> Single {
        let mut process = self.spawn().await;
        let mut said = BufReader::new(process.stdout.take().expect("piped")).lines();
        let line = tokio::time::timeout(PATIENCE, said.next_line()).await.expect("ready in time").expect("standard output");
        let mut stderr = process.stderr.take().expect("piped");
        let Some(line) = line else {
            let mut why = String::new();
            stderr.read_to_string(&mut why).await.expect("text");
            panic!("it ended: {why}");
        };
        let url = line.strip_prefix("agentapi is ready at ").expect("that is what it says").to_owned();
        let client = Client::new(&url);
        Single { url, client, stdin: process.stdin.take(), process, stderr, _directory: self.directory.clone() }
    }

    /// Starts it, and waits until its agent takes messages.
    pub(crate) async fn start_stable(&self) -> Single {
        let single = self.start().await;
        single.client.stable("").await;
        single
    }

    /// Runs it to its end.
    pub(crate) async fn run(&self) -> End {
        let process = self.spawn().await;
        let output = tokio::time::timeout(PATIENCE, process.wait_with_output()).await.expect("ends in time").expect("is ours");
        End { code: output.status.code(), stderr: String::from_utf8(output.stderr).expect("UTF-8") }
    }
}

impl Single {
    pub(crate) fn pid(&self) -> Pid {
        let id = self.process.id().expect("it runs");
        Pid::from_raw(i32::try_from(id).expect("a pid")).expect("not zero")
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("it runs");
    }

    /// Waits until it has ended.
    pub(crate) async fn end(mut self) -> End {
        let mut text = String::new();
        let ending = async {
            let (status, read) = tokio::join!(self.process.wait(), self.stderr.read_to_string(&mut text));
            read.expect("UTF-8");
            status.expect("is ours").code()
        };
        let code = tokio::time::timeout(PATIENCE, ending).await.expect("ends in time");
        End { code, stderr: text }
    }

    /// Asks it to stop by this signal, and waits until it has.
    pub(crate) async fn stop(self, signal: Signal) -> End {
        self.signal(signal);
        self.end().await
    }
}
