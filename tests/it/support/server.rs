//! The real program, started for a test.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use super::{Client, PATIENCE, TestDatabase, TestRedis};

/// Password of the first operator in tests.
pub(crate) const PASSWORD: &str = "correct horse battery staple";

/// What a server is started with. Several may share database, Redis and key.
#[derive(Clone)]
pub(crate) struct ServerBuilder {
    env: BTreeMap<String, String>,
    data_dir: Arc<TempDir>,
}

/// A running server. Killed when dropped.
pub(crate) struct Server {
    pub(crate) url: String,
    process: Child,
    _data_dir: Arc<TempDir>,
}

impl ServerBuilder {
    /// A server on `database`, with in-process stores and no limit that a test would meet by chance.
    pub(crate) fn new(database: &TestDatabase) -> Self {
        let data_dir = Arc::new(tempfile::tempdir().expect("a directory"));
        let builder = Self { env: BTreeMap::new(), data_dir: data_dir.clone() };
        builder
            .env("DATABASE_URL", database.url())
            .env("AGENTAPI_PORT", "0")
            .env("AGENTAPI_DATA_DIR", &data_dir.path().display().to_string())
            .env("AGENTAPI_ADMIN_PASSWORD", PASSWORD)
            .env("AGENT_ALLOW_CUSTOM_COMMANDS", "true")
            .env("RATE_LIMIT_REQUESTS_PER_MINUTE", "100000")
            .env("DATABASE_MAX_CONNECTIONS", "4")
    }

    pub(crate) fn redis(self, redis: &TestRedis) -> Self {
        self.env("REDIS_URL", &redis.url())
    }

    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.env.insert(name.to_owned(), value.to_owned());
        self
    }

    /// A second server with the same settings, but a data directory and so a name of its own.
    pub(crate) fn sibling(&self) -> Self {
        let data_dir = Arc::new(tempfile::tempdir().expect("a directory"));
        let sibling = Self { env: self.env.clone(), data_dir: data_dir.clone() };
        sibling.env("AGENTAPI_DATA_DIR", &data_dir.path().display().to_string())
    }

    pub(crate) fn data_dir(&self) -> &Path {
        self.data_dir.path()
    }

    /// A command of the program with this environment and nothing else.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_agentapi"));
        command.args(args).current_dir(self.data_dir.path()).env_clear().envs(&self.env).kill_on_drop(true);
        command.env("PATH", std::env::var_os("PATH").expect("a PATH"));
        command
    }

    /// Starts it and waits until it says that it is ready.
    pub(crate) async fn start(&self) -> Server {
        let mut process = self.command(&["serve"]).stdout(Stdio::piped()).spawn().expect("the program starts");
        let mut lines = BufReader::new(process.stdout.take().expect("piped")).lines();
        let ready = async {
            loop {
                let line = lines.next_line().await.expect("standard output").expect("the program says that it is ready");
                if let Some(rest) = line.strip_prefix("agentapi is ready at ") {
                    return rest.split_whitespace().next().expect("a URL").to_owned();
                }
            }
        };
        let url = tokio::time::timeout(PATIENCE, ready).await.expect("ready in time");
        Server { url, process, _data_dir: self.data_dir.clone() }
    }
}

impl Server {
    /// A client that has not logged in.
    pub(crate) fn anonymous(&self) -> Client {
        Client::new(&self.url)
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

    /// Asks it to stop and waits until it has. Returns its exit code.
    pub(crate) async fn terminate(mut self) -> Option<i32> {
        kill_process(self.pid(), Signal::TERM).expect("it runs");
        let status = tokio::time::timeout(PATIENCE, self.process.wait()).await.expect("stops in time").expect("is ours");
        status.code()
    }
}
