//! Against real Postgres programs, as a server would run them.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;

use rustix::process::{Pid, Signal, kill_process};
use sqlx::{Connection, PgConnection};
use tempfile::TempDir;

use super::*;

/// A data directory that other users can pass through, whose Postgres does not outlive the test.
struct DataDir(TempDir);

impl DataDir {
    fn new() -> Self {
        // Not in TMPDIR, which may be a directory that other users cannot enter.
        let directory = tempfile::Builder::new().prefix("agentapi-test-").tempdir_in("/tmp").expect("a directory");
        set_mode(directory.path(), 0o755);
        Self(directory)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn postgres(&self, name: &str) -> PathBuf {
        self.path().join("postgres").join(name)
    }

    fn socket(&self) -> PathBuf {
        self.postgres("run/.s.PGSQL.5432")
    }

    /// The running postmaster.
    fn pid(&self) -> Option<Pid> {
        let text = std::fs::read_to_string(self.postgres("data/postmaster.pid")).ok()?;
        Pid::from_raw(text.lines().next()?.parse().ok()?)
    }

    async fn open(&self) -> Embedded {
        Embedded::open(self.path()).await.expect("Postgres runs")
    }
}

impl Drop for DataDir {
    fn drop(&mut self) {
        // Only after a failed test: one that passes has stopped it.
        if let Some(pid) = self.pid()
            && UnixStream::connect(self.socket()).is_ok()
        {
            let _ = kill_process(pid, Signal::QUIT);
        }
    }
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("our own");
}

async fn connect(embedded: &Embedded) -> PgConnection {
    PgConnection::connect_with(&embedded.connect_options()).await.expect("a connection")
}

async fn number(embedded: &Embedded, sql: &'static str) -> i64 {
    sqlx::query_scalar(sql).fetch_one(&mut connect(embedded).await).await.expect("a number")
}

async fn execute(embedded: &Embedded, sql: &'static str) {
    sqlx::query(sql).execute(&mut connect(embedded).await).await.expect("done");
}

#[tokio::test]
async fn a_second_start_finds_the_data_of_the_first() {
    let data = DataDir::new();
    let first = data.open().await;
    execute(&first, "CREATE TABLE kept AS SELECT 7::bigint AS n").await;
    first.stop().await.expect("stopped");
    let second = data.open().await;
    assert_eq!(number(&second, "SELECT n FROM kept").await, 7);
    second.stop().await.expect("stopped");
}

#[tokio::test]
async fn stop_leaves_no_process_and_no_socket() {
    let data = DataDir::new();
    let embedded = data.open().await;
    assert!(data.socket().exists());
    let pid = data.pid().expect("runs");
    let _session = connect(&embedded).await;
    embedded.stop().await.expect("stopped, the open session notwithstanding");
    assert_eq!(rustix::process::test_kill_process(pid), Err(rustix::io::Errno::SRCH));
    assert!(!data.socket().exists());
    assert!(data.pid().is_none());
}

#[tokio::test]
async fn the_last_user_stops_it() {
    let data = DataDir::new();
    let (first, second) = tokio::join!(data.open(), data.open());
    let pid = data.pid();
    first.stop().await.expect("left");
    assert_eq!(number(&second, "SELECT 1::bigint").await, 1);
    assert_eq!(data.pid(), pid, "it went on running");
    second.stop().await.expect("stopped");
    assert!(!data.socket().exists());
}

#[tokio::test]
async fn the_next_process_takes_over_from_one_that_was_killed() {
    let data = DataDir::new();
    let first = data.open().await;
    let pid = data.pid();
    // What a kill -9 does to the handle: its locks are gone, Postgres is not.
    drop(first);
    let second = data.open().await;
    assert_eq!(data.pid(), pid, "attached, not started again");
    second.stop().await.expect("stopped");
    assert!(!data.socket().exists());
}

#[tokio::test]
async fn postgres_is_started_again_when_it_dies() {
    let data = DataDir::new();
    let starter = data.open().await;
    let attached = data.open().await;
    execute(&starter, "CREATE TABLE kept AS SELECT 7::bigint AS n").await;
    let killed = data.pid().expect("runs");
    kill_process(killed, Signal::KILL).expect("killed");
    // One of the two starts it, the other finds it.
    let pool = sqlx::postgres::PgPoolOptions::new().connect_lazy_with(attached.connect_options());
    let deadline = Instant::now() + Duration::from_secs(30);
    let n: i64 = loop {
        match sqlx::query_scalar("SELECT n FROM kept").fetch_one(&pool).await {
            Ok(n) => break n,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
        sleep(Duration::from_millis(10)).await;
    };
    assert_eq!(n, 7);
    assert_ne!(data.pid(), Some(killed));
    drop(pool);
    starter.stop().await.expect("left");
    attached.stop().await.expect("stopped");
    assert!(!data.socket().exists());
}

#[tokio::test]
async fn remains_of_a_crash_do_not_mislead() {
    let data = DataDir::new();
    data.open().await.stop().await.expect("stopped");
    // After a power cut: the process id is now that of a program of the same user, the socket is left behind, and so is a
    // cluster that was not finished.
    let cluster = data.postgres("data");
    let account = account::Account::choose(&cluster).expect("a user");
    let mut other = account.command(Path::new("/bin/sleep"));
    other.arg("1000");
    let mut other = tokio::process::Command::from(other).kill_on_drop(true).spawn().expect("sleeps");
    let pid = other.id().expect("runs");
    std::fs::create_dir(data.postgres("run")).expect("made");
    let lines = format!("{pid}\n{}\n1\n{PORT}\n{}\n\n", cluster.display(), data.postgres("run").display());
    for remains in [cluster.join("postmaster.pid"), data.postgres("run/.s.PGSQL.5432"), data.postgres("run/.s.PGSQL.5432.lock")] {
        std::fs::write(&remains, &lines).expect("written");
        account.give(&remains).expect("given");
    }
    std::fs::create_dir_all(data.postgres("data.new/base")).expect("made");

    let embedded = data.open().await;
    assert_eq!(number(&embedded, "SELECT 1::bigint").await, 1);
    embedded.stop().await.expect("stopped");
    assert!(other.try_wait().expect("our child").is_none(), "the other program was left alone");
    other.kill().await.expect("killed");
}

#[tokio::test]
async fn an_unfinished_cluster_is_made_anew() {
    let data = DataDir::new();
    std::fs::create_dir_all(data.postgres("data.new/base")).expect("made");
    std::fs::write(data.postgres("data.new/PG_VERSION"), "1\n").expect("written");
    let embedded = data.open().await;
    assert!(!data.postgres("data.new").exists());
    embedded.stop().await.expect("stopped");
}

#[tokio::test]
async fn a_long_path_works() {
    let data = DataDir::new();
    let long = data.path().join("directory,with \"odd\" name".repeat(5));
    let embedded = Embedded::open(&long).await.expect("runs");
    let socket = embedded.connect_options().get_socket().cloned().expect("a socket");
    assert!(socket.starts_with("/tmp"), "{socket:?}");
    assert_eq!(number(&embedded, "SELECT 1::bigint").await, 1);
    embedded.stop().await.expect("stopped");
    assert!(!socket.exists());
}

#[tokio::test]
async fn without_programs_it_says_what_to_install() {
    let data = DataDir::new();
    let error = Embedded::open_with(data.path(), &[PathBuf::from("/nowhere")]).await.expect_err("none").to_string();
    for part in ["/nowhere", "apt-get install postgresql", "brew install", "DATABASE_URL"] {
        assert!(error.contains(part), "{error}");
    }
}

#[tokio::test]
async fn programs_of_another_version_are_refused() {
    let data = DataDir::new();
    std::fs::create_dir_all(data.postgres("data")).expect("made");
    std::fs::write(data.postgres("data/PG_VERSION"), "9\n").expect("written");
    let error = Embedded::open(data.path()).await.expect_err("none").to_string();
    assert!(error.contains("made by PostgreSQL 9"), "{error}");
    assert!(error.contains("only PostgreSQL 1"), "{error}");
}

#[tokio::test]
async fn a_postgres_that_does_not_start_tells_why() {
    let data = DataDir::new();
    data.open().await.stop().await.expect("stopped");
    std::fs::write(data.postgres("data/postgresql.auto.conf"), "no_such_setting = 1\n").expect("written");
    let error = Embedded::open(data.path()).await.expect_err("does not start").to_string();
    assert!(error.contains("no_such_setting"), "{error}");
    assert!(error.contains("server.log"), "{error}");
}

#[tokio::test]
async fn a_directory_that_postgres_cannot_enter_is_named() {
    let data = DataDir::new();
    let closed = data.path().join("closed");
    std::fs::create_dir(&closed).expect("made");
    set_mode(&closed, 0o700);
    match Embedded::open(&closed.join("a/b")).await {
        Err(error) => {
            let error = error.to_string();
            assert!(error.contains(&format!("cannot enter {}.", closed.display())), "{error}");
            assert!(error.contains("AGENTAPI_DATA_DIR"), "{error}");
        }
        Ok(embedded) => {
            embedded.stop().await.expect("stopped");
            assert!(!rustix::process::geteuid().is_root(), "only without root does Postgres run as who can enter");
        }
    }
}
