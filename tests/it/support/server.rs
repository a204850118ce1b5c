//! The real program, started for a test.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use super::{Client, PATIENCE, TestDatabase, TestRedis, Upstash, eventually};

/// Password of the first operator in tests.
pub(crate) const PASSWORD: &str = "correct horse battery staple";

/// What a server is started with. Several may share database, Redis and key.
#[derive(Clone)]
pub(crate) struct ServerBuilder {
    env: BTreeMap<String, String>,
    data_dir: Arc<TempDir>,
    open_files: Option<u32>,
}

/// A running server. Killed when dropped.
pub(crate) struct Server {
    pub(crate) url: String,
    process: Child,
    said: Lines<BufReader<ChildStdout>>,
    _data_dir: Arc<TempDir>,
}

impl ServerBuilder {
    /// A server on `database`, with in-process stores and no limit that a test would meet by chance.
    pub(crate) fn new(database: &TestDatabase) -> Self {
        let data_dir = Arc::new(tempfile::tempdir().expect("a directory"));
        let builder = Self { env: BTreeMap::new(), data_dir: data_dir.clone(), open_files: None };
        builder
            .env("DATABASE_URL", database.url())
            .env("AGENTAPI_PORT", "0")
            .env("AGENTAPI_DATA_DIR", &data_dir.path().display().to_string())
            .env("AGENTAPI_ADMIN_PASSWORD", PASSWORD)
            .env("AGENT_ALLOW_CUSTOM_COMMANDS", "true")
            .env("RATE_LIMIT_REQUESTS_PER_MINUTE", "100000")
            .env("RATE_LIMIT_LOGIN_ATTEMPTS_PER_MINUTE", "100000")
            .env("DATABASE_MAX_CONNECTIONS", "4")
            // Signs of life would be among the commands that some tests count.
            .env("AGENTAPI_HEARTBEAT_INTERVAL", "60s")
            .found_programs()
    }

    /// Agents' programs are found where the test finds them.
    fn found_programs(self) -> Self {
        self.env("PATH", &std::env::var("PATH").expect("a PATH"))
    }

    /// A server with nothing set but what keeps it out of the way of others: it runs its own Postgres.
    pub(crate) fn embedded() -> Self {
        let data_dir = Arc::new(tempfile::tempdir().expect("a directory"));
        // Its Postgres runs as another user if the test runs as root, and must be able to pass through.
        let mode = std::fs::Permissions::from_mode(0o711);
        std::fs::set_permissions(data_dir.path(), mode).expect("the directory is ours");
        let builder = Self { env: BTreeMap::new(), data_dir: data_dir.clone(), open_files: None };
        let data_dir = data_dir.path().display().to_string();
        builder.env("AGENTAPI_PORT", "0").env("AGENTAPI_DATA_DIR", &data_dir).found_programs()
    }

    /// With a Redis that is given all the time it needs: how little time it gets otherwise is for the tests of its faults.
    pub(crate) fn redis(self, redis: &TestRedis) -> Self {
        self.env("REDIS_URL", &redis.url()).env("REDIS_COMMAND_TIMEOUT", "20s")
    }

    pub(crate) fn upstash(self, upstash: &Upstash) -> Self {
        upstash.variables().iter().fold(self, |builder, (name, value)| builder.env(name, value))
    }

    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.env.insert(name.to_owned(), value.to_owned());
        self
    }

    /// With a soft limit of open files.
    pub(crate) fn open_files(mut self, limit: u32) -> Self {
        self.open_files = Some(limit);
        self
    }

    /// A second server with the same settings, but a data directory and so a name of its own.
    pub(crate) fn sibling(&self) -> Self {
        let data_dir = Arc::new(tempfile::tempdir().expect("a directory"));
        let sibling = Self { data_dir: data_dir.clone(), ..self.clone() };
        sibling.env("AGENTAPI_DATA_DIR", &data_dir.path().display().to_string())
    }

    pub(crate) fn data_dir(&self) -> &Path {
        self.data_dir.path()
    }

    /// A command of the program with this environment and nothing else.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let program = env!("CARGO_BIN_EXE_agentapi");
        let mut command = match self.open_files {
            None => Command::new(program),
            Some(limit) => {
                let mut shell = Command::new("sh");
                shell.args(["-c", "ulimit -S -n \"$0\" && exec \"$@\"", &limit.to_string(), program]);
                shell
            }
        };
        command.args(args).current_dir(self.data_dir.path()).env_clear().envs(&self.env).kill_on_drop(true);
        command
    }

    /// Runs a command to its end, with `input` on standard input. Returns exit code, standard output and standard error.
    pub(crate) async fn run(&self, args: &[&str], input: &str) -> (Option<i32>, String, String) {
        let mut command = self.command(args);
        let mut process =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts");
        let mut stdin = process.stdin.take().expect("piped");
        // A command that reads nothing may be gone already.
        let _ = stdin.write_all(input.as_bytes()).await;
        drop(stdin);
        let output = tokio::time::timeout(PATIENCE, process.wait_with_output()).await.expect("ends in time").expect("is ours");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
        (output.status.code(), text(output.stdout), text(output.stderr))
    }

    /// The same of a command that has to succeed. Returns its standard output.
    pub(crate) async fn done(&self, args: &[&str], input: &str) -> String {
        let (code, out, error) = self.run(args, input).await;
        assert_eq!(code, Some(0), "{args:?}: {out}{error}");
        out
    }

    /// Starts it and waits until it says that it is ready.
    pub(crate) async fn start(&self) -> Server {
        self.start_with_log(self.log()).await
    }

    /// The same with another place for the log.
    pub(crate) async fn start_with_log(&self, log: Stdio) -> Server {
        let mut command = self.command(&["serve"]);
        let mut process = command.stdout(Stdio::piped()).stderr(log).spawn().expect("the program starts");
        let mut said = BufReader::new(process.stdout.take().expect("piped")).lines();
        let ready = async {
            let line = said.next_line().await.expect("standard output").expect("the program says that it is ready");
            let rest = line.strip_prefix("agentapi is ready at ").expect("that is the first it says");
            rest.split_whitespace().next().expect("a URL").to_owned()
        };
        let url = tokio::time::timeout(PATIENCE, ready).await.expect("ready in time");
        Server { url, process, said, _data_dir: self.data_dir.clone() }
    }

    /// Where the server logs to.
    pub(crate) fn log_file(&self) -> PathBuf {
        self.data_dir.path().join("test.log")
    }

    /// What the server has logged, with all that ran here before.
    pub(crate) fn logged(&self) -> String {
        std::fs::read_to_string(self.log_file()).expect("a log")
    }

    fn log(&self) -> Stdio {
        let file = std::fs::OpenOptions::new().create(true).append(true).open(self.log_file());
        file.expect("the directory is ours").into()
    }
}

impl Server {
    /// A client that has not logged in.
    pub(crate) fn anonymous(&self) -> Client {
        Client::new(&self.url)
    }

    /// What it says on standard output after the line that it is ready, up to a line that begins with `last`.
    pub(crate) async fn says(&mut self, last: &str) -> String {
        let mut text = String::new();
        loop {
            let line = tokio::time::timeout(PATIENCE, self.said.next_line()).await.expect("says more in time");
            let line = line.expect("standard output").expect("says more");
            text.push_str(&line);
            text.push('\n');
            if line.starts_with(last) {
                return text;
            }
        }
    }

    /// The first operator.
    pub(crate) async fn operator(&self) -> Client {
        self.anonymous().log_in("default", "admin@localhost", PASSWORD).await
    }

    pub(crate) fn pid(&self) -> Pid {
        let id = self.process.id().expect("it runs");
        Pid::from_raw(i32::try_from(id).expect("a pid")).expect("not zero")
    }

    /// Kills it without a word, as a crash would.
    pub(crate) async fn kill(mut self) {
        self.process.kill().await.expect("it runs");
    }

    /// Hangs it: it keeps its connections and answers nothing, as soon as this returns.
    pub(crate) async fn hang(&self) {
        kill_process(self.pid(), Signal::STOP).expect("it runs");
        // Where processors are scarce, some of its threads go on until one of them has its turn to take the signal.
        let state = format!("/proc/{}/stat", self.pid().as_raw_nonzero());
        eventually("it hangs", || async { std::fs::read_to_string(&state).ok()?.contains(") T ").then_some(()) }).await;
    }

    /// Lets it go on.
    pub(crate) fn resume(&self) {
        kill_process(self.pid(), Signal::CONT).expect("it runs");
    }

    /// Asks it to stop and waits until it has. Returns its exit code.
    pub(crate) async fn terminate(mut self) -> Option<i32> {
        kill_process(self.pid(), Signal::TERM).expect("it runs");
        let status = tokio::time::timeout(PATIENCE, self.process.wait()).await.expect("stops in time").expect("is ours");
        status.code()
    }
}
