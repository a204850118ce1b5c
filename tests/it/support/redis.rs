//! A Redis of a test's own, to be killed, hung and brought back.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use redis::AsyncConnectionConfig;
use redis::aio::MultiplexedConnection;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::{PATIENCE, eventually};

/// A running `redis-server` that keeps what it is told: each write is on disk before it is answered.
pub(crate) struct TestRedis {
    directory: TempDir,
    port: u16,
    args: Vec<String>,
    process: Child,
}

impl TestRedis {
    pub(crate) async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// With further arguments of `redis-server`.
    pub(crate) async fn start_with(args: &[&str]) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let port = free_port();
        let args: Vec<String> = args.iter().map(|&arg| arg.to_owned()).collect();
        let process = spawn(&directory, port, &args);
        let redis = Self { directory, port, args, process };
        redis.answers().await;
        redis
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// `host:port`
    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Kills it, as a crash would.
    pub(crate) fn kill(&mut self) {
        self.process.kill().expect("it runs");
        self.process.wait().expect("it is ours");
    }

    /// Starts it again, with what it had on disk.
    pub(crate) async fn restart(&mut self) {
        self.process = spawn(&self.directory, self.port, &self.args);
        self.answers().await;
    }

    /// Takes away what it has on disk, while it does not run.
    pub(crate) fn forget(&self) {
        std::fs::remove_dir_all(self.directory.path().join("appendonlydir")).expect("it wrote its log");
    }

    /// Hangs it: it keeps its connections and answers nothing.
    pub(crate) fn hang(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it go on.
    pub(crate) fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// A connection that gives Redis all the time it needs.
    pub(crate) async fn connect(&self) -> MultiplexedConnection {
        let client = redis::Client::open(self.url()).expect("a URL of ours");
        let patient = AsyncConnectionConfig::new().set_response_timeout(Some(PATIENCE)).set_connection_timeout(Some(PATIENCE));
        client.get_multiplexed_async_connection_with_config(&patient).await.expect("Redis answers")
    }

    /// Runs `what` and returns, beside its result, the commands that Redis carried out meanwhile, those within scripts included:
    /// what Upstash bills.
    pub(crate) async fn commands_of<T>(&self, what: impl Future<Output = T>) -> (T, BTreeMap<String, u64>) {
        self.forget_commands().await;
        let result = what.await;
        (result, self.commands().await)
    }

    /// Counts commands from now on.
    pub(crate) async fn forget_commands(&self) {
        redis::cmd("CONFIG").arg("RESETSTAT").query_async::<()>(&mut self.connect().await).await.expect("reset");
    }

    /// The commands that were carried out since, but for those that count, those that a connection begins with, and what the
    /// look-alike's guard asks.
    pub(crate) async fn commands(&self) -> BTreeMap<String, u64> {
        let mut info = redis::cmd("INFO");
        let info: String = info.arg("commandstats").query_async(&mut self.connect().await).await.expect("statistics");
        let calls = |line: &str| {
            let (name, rest) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
            let calls = rest.split(',').next()?.parse().ok()?;
            let ours = ["config|", "client|", "info", "command|getkeys"].iter().any(|ours| name.starts_with(ours));
            (!ours && calls > 0).then(|| (name.to_owned(), calls))
        };
        info.lines().filter_map(calls).collect()
    }

    async fn answers(&self) {
        let client = redis::Client::open(self.url()).expect("a URL of ours");
        eventually("Redis answers", || async {
            let mut connection = client.get_multiplexed_async_connection().await.ok()?;
            // A password that is asked for is an answer too.
            match redis::cmd("PING").query_async::<String>(&mut connection).await {
                Ok(_) => Some(()),
                Err(error) if error.code() == Some("NOAUTH") => Some(()),
                Err(_) => None,
            }
        })
        .await;
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.process.id()).expect("a pid")).expect("not zero");
        kill_process(pid, signal).expect("it runs");
    }
}

impl Drop for TestRedis {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn spawn(directory: &TempDir, port: u16, args: &[String]) -> Child {
    Command::new("redis-server")
        .args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--dir"])
        .arg(directory.path())
        .args(["--save", "", "--appendonly", "yes", "--appendfsync", "always"])
        .args(args)
        .stdout(Stdio::null())
        .spawn()
        .expect("redis-server is installed: run `make test`")
}

/// A connection to the Redis at `url`.
pub(super) async fn connect(url: &str) -> MultiplexedConnection {
    let client = redis::Client::open(url).expect("a URL of ours");
    client.get_multiplexed_async_connection().await.expect("Redis answers")
}

/// A port that is free, and that nobody else is given while it is not listened to: it was handed out to no other test, and is below
/// those that systems give to connections and to whoever asks for any.
pub(crate) fn free_port() -> u16 {
    const FIRST: u32 = 10_000;
    const PORTS: u32 = 20_000;
    static HANDED_OUT: AtomicU32 = AtomicU32::new(0);
    // Another run of the tests at the same time begins elsewhere.
    let begin = std::process::id().wrapping_mul(7919);
    let mut ports = (0..PORTS).map(|_| {
        let number = begin.wrapping_add(HANDED_OUT.fetch_add(1, Ordering::Relaxed));
        u16::try_from(FIRST + number % PORTS).expect("small")
    });
    ports.find(|&port| TcpListener::bind(("127.0.0.1", port)).is_ok()).expect("one of them is free")
}
