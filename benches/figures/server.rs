//! The real program on a database of its own, as a new user would start it: the embedded Postgres, defaults for the rest.

use std::collections::BTreeMap;
use std::fs::Permissions;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::Failure;
use super::support::{Client, PASSWORD};

/// Longest that a start is waited for; the first makes a database.
const START: Duration = Duration::from_secs(60);
/// Longest that a stop is waited for: more than the server gives its agents and its Postgres.
const STOP: Duration = Duration::from_secs(30);

/// What the line begins with that tells of readiness.
const READY: &str = "agentapi is ready at ";

/// Where a server keeps its files, and its settings.
pub(crate) struct Place {
    directory: TempDir,
    env: BTreeMap<&'static str, String>,
}

/// A running server. Dropped, it is asked to stop and waited for, so that its Postgres and its agents end too.
pub(crate) struct Server {
    pub(crate) url: String,
    /// From the start of the program to the line that tells of readiness.
    pub(crate) took: Duration,
    process: Child,
    is_killed: bool,
}

impl Place {
    pub(crate) fn new(env: &[(&'static str, &str)]) -> Result<Self, Failure> {
        // Not in TMPDIR, which may be a directory that the user of Postgres cannot enter.
        let directory = tempfile::Builder::new().prefix("agentapi-bench-").tempdir_in("/tmp")?;
        std::fs::set_permissions(directory.path(), Permissions::from_mode(0o755))?;
        let own = [
            ("AGENTAPI_PORT", "0"),
            ("AGENTAPI_ADMIN_PASSWORD", PASSWORD),
            ("AGENT_ALLOW_CUSTOM_COMMANDS", "true"),
            // All viewers come from this machine.
            ("AGENTAPI_MAX_CONNECTIONS_PER_ADDRESS", "5000"),
            // As many as can be asked for: requests are counted, and none is refused.
            ("RATE_LIMIT_REQUESTS_PER_MINUTE", "1000000"),
            ("RATE_LIMIT_BURST_SIZE", "1000000"),
            ("RATE_LIMIT_LOGIN_ATTEMPTS_PER_MINUTE", "1000000"),
        ];
        let env = own.iter().chain(env).map(|&(name, value)| (name, value.to_owned())).collect();
        Ok(Self { directory, env })
    }

    fn data_dir(&self) -> &Path {
        self.directory.path()
    }

    /// Starts the program and waits until it is ready. Its log goes to nowhere, at its default level.
    pub(crate) fn start(&self) -> Result<Server, Failure> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_agentapi"));
        command.arg("serve").current_dir(self.data_dir()).env_clear().envs(&self.env);
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("AGENTAPI_DATA_DIR", self.data_dir().join("data"));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let began = Instant::now();
        let process = command.spawn()?;
        let mut server = Server { url: String::new(), took: Duration::ZERO, process, is_killed: false };
        let output = server.process.stdout.take().ok_or("no standard output")?;
        let (ready, url) = await_ready(output)?;
        (server.url, server.took) = (url, ready - began);
        Ok(server)
    }
}

/// Reads the output until it tells of readiness, and on to its end on a thread: a program must not meet a closed pipe.
fn await_ready(output: ChildStdout) -> Result<(Instant, String), Failure> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if let Some(rest) = line.strip_prefix(READY) {
                let url = rest.split_whitespace().next().unwrap_or_default().to_owned();
                let _nobody_waits = sender.send((Instant::now(), url));
            }
        }
    });
    receiver.recv_timeout(START).map_err(|_| "a server ended, or was not ready in time; start one by hand to see why".into())
}

impl Server {
    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// A client that is logged in as the first operator.
    pub(crate) async fn operator(&self) -> Client {
        Client::new(&self.url).log_in("default", "admin@localhost", PASSWORD).await
    }

    /// Stops it, if it has not ended. Fails if it does not end well.
    pub(crate) fn stop(mut self) -> Result<(), Failure> {
        self.end()
    }

    /// Kills it without a word.
    pub(crate) fn kill(mut self) -> Result<(), Failure> {
        self.process.kill()?;
        self.process.wait()?;
        self.is_killed = true;
        Ok(())
    }

    fn end(&mut self) -> Result<(), Failure> {
        if self.is_killed {
            return Ok(());
        }
        let deadline = Instant::now() + STOP;
        if self.process.try_wait()?.is_none() {
            let pid = i32::try_from(self.process.id()).ok().and_then(Pid::from_raw).ok_or("no process id")?;
            kill_process(pid, Signal::TERM)?;
        }
        loop {
            match self.process.try_wait()? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => return Err(format!("a server ended with {status}").into()),
                None if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(10)),
                None => {
                    self.process.kill()?;
                    self.process.wait()?;
                    return Err("a server did not stop in time, and was killed".into());
                }
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // After `stop` there is nothing left to do; after a failure, that one is told.
        if let Err(error) = self.end() {
            eprintln!("figures: {error}");
        }
    }
}
