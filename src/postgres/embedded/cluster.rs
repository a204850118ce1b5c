//! Making, starting, watching and stopping the cluster.

use std::fs::File;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use sqlx::Connection;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgSslMode};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::account::Account;
use super::binaries::Binaries;
use super::files::{Files, try_lock};
use super::{DATABASE, EmbeddedError, PORT, ROLE};

/// Bound on start to first connection. After a power cut Postgres first replays its log.
const START: Duration = Duration::from_secs(60);
/// Bound on waiting while another process starts or stops the cluster: longer than either.
const TURN: Duration = Duration::from_secs(90);
/// Bound on a fast shutdown, which ends sessions and writes what is in memory.
const STOP_FAST: Duration = Duration::from_secs(8);
/// Bound on an immediate shutdown; the next start replays the log.
const STOP_IMMEDIATE: Duration = Duration::from_secs(4);
/// How often to look for what nobody tells us, while somebody waits for it.
const POLL: Duration = Duration::from_millis(10);
/// How often to look whether a Postgres that is not our child still lives.
const WATCH: Duration = Duration::from_millis(250);

/// Modest memory, no network; and a log that stays small: it tells starts, stops and crashes, not each failed statement.
const SETTINGS: [&str; 9] = [
    "listen_addresses=",
    "unix_socket_permissions=0700",
    "max_connections=100",
    "shared_buffers=32MB",
    "log_min_messages=log",
    "log_checkpoints=off",
    "logging_collector=off",
    "log_timezone=UTC",
    "timezone=UTC",
];

/// A cluster that may or may not be running.
#[derive(Debug)]
pub(super) struct Cluster {
    files: Files,
    account: Account,
    binaries: Binaries,
}

/// A running Postgres: our child, or one that another process started.
#[derive(Debug)]
pub(super) struct Postmaster(Option<Child>);

impl Cluster {
    pub(super) async fn prepare(data_dir: &Path, candidates: &[PathBuf]) -> Result<Self, EmbeddedError> {
        let files = Files::prepare(data_dir)?;
        let account = Account::choose(&files.cluster)?;
        if let Some(home) = files.cluster.parent() {
            account.check_reach(home)?;
        }
        let binaries = Binaries::find(candidates, &files.cluster, &account).await?;
        Ok(Self { files, account, binaries })
    }

    /// Options for a connection to `database` as the superuser that owns it.
    pub(super) fn options(&self, database: &str) -> PgConnectOptions {
        PgConnectOptions::new_without_pgpass()
            .socket(&self.files.socket)
            .port(PORT)
            .username(ROLE)
            .password("")
            .database(database)
            .ssl_mode(PgSslMode::Disable)
    }

    /// Waits for our turn to start or stop the cluster.
    pub(super) async fn turn(&self) -> Result<File, EmbeddedError> {
        let turn = self.files.turn()?;
        let deadline = Instant::now() + TURN;
        while !try_lock(&turn, &self.files.cluster)? {
            if Instant::now() >= deadline {
                return Err(EmbeddedError::Busy { waited: TURN });
            }
            sleep(POLL).await;
        }
        Ok(turn)
    }

    /// Counts this process among the users of the cluster, as long as the file is open. Only in our turn.
    pub(super) fn join(&self) -> Result<File, EmbeddedError> {
        let users = self.files.users()?;
        users.lock_shared().map_err(EmbeddedError::io(&self.files.cluster))?;
        Ok(users)
    }

    /// Attaches to the cluster's Postgres if it lives, else starts it. Only in our turn.
    pub(super) async fn ensure_running(&self) -> Result<Postmaster, EmbeddedError> {
        let deadline = Instant::now() + START;
        let life = self.files.life()?;
        while !try_lock(&life, &self.files.cluster)? {
            // It may be starting, serving or stopping.
            let reason = match timeout_at(deadline, self.knock()).await {
                Ok(Ok(())) => {
                    self.files.check_socket_directory(&self.account)?;
                    return Ok(Postmaster(None));
                }
                Ok(Err(error)) => error.to_string(),
                Err(_) => "no answer".to_owned(),
            };
            if Instant::now() >= deadline {
                return Err(self.not_ready(reason));
            }
            sleep(POLL).await;
        }
        self.start(life, deadline).await
    }

    /// Starts Postgres, which is known not to run, and hands it `life`, which says so.
    async fn start(&self, life: File, deadline: Instant) -> Result<Postmaster, EmbeddedError> {
        if !self.files.cluster.join("PG_VERSION").exists() {
            self.create().await?;
        }
        self.files.clear_remains(&self.account)?;
        let log = self.files.fresh_log()?;
        let program = self.binaries.program("postgres");
        let mut command = self.account.command(&program);
        command.arg("-D").arg(&self.files.cluster).arg("-p").arg(PORT.to_string());
        // The setting is a list, so a name in it is quoted as SQL quotes names.
        command.arg("-k").arg(format!("\"{}\"", self.files.socket.display().to_string().replace('"', "\"\"")));
        for setting in SETTINGS {
            command.arg("-c").arg(setting);
        }
        command.stdin(life);
        command.stdout(log.try_clone().map_err(EmbeddedError::io(&self.files.log()))?).stderr(log);
        let mut child = Command::from(command).spawn().map_err(EmbeddedError::io(&program))?;

        let result = tokio::select! {
            _ = child.wait() => return Err(EmbeddedError::Exited { log: self.files.log(), tail: self.files.log_tail() }),
            result = self.until_accepting(deadline) => result,
        };
        let mut postmaster = Postmaster(Some(child));
        if let Err(error) = result {
            self.stop(&mut postmaster).await?;
            return Err(error);
        }
        Ok(postmaster)
    }

    /// Makes a cluster where there is none. It gets its name when it is complete, so that a crash leaves none or a whole one.
    async fn create(&self) -> Result<(), EmbeddedError> {
        tracing::info!(directory = %self.files.cluster.display(), "making a PostgreSQL cluster");
        let unfinished = self.files.fresh_unfinished(&self.account)?;
        let program = self.binaries.program("initdb");
        let mut command = self.account.command(&program);
        command.arg("-D").arg(&unfinished).args(["-U", ROLE, "--encoding=UTF8", "--locale=C"]);
        // Who gets to the socket is let in: its directory is the wall. There is no network.
        command.args(["--auth-local=trust", "--auth-host=reject"]).stdin(Stdio::null());
        let output = Command::from(command).kill_on_drop(true).output().await.map_err(EmbeddedError::io(&program))?;
        if !output.status.success() {
            let output = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            return Err(EmbeddedError::Initdb { output });
        }
        std::fs::rename(&unfinished, &self.files.cluster).map_err(EmbeddedError::io(&self.files.cluster))?;
        self.files.sync_home()
    }

    async fn until_accepting(&self, deadline: Instant) -> Result<(), EmbeddedError> {
        let mut reason = "no answer".to_owned();
        loop {
            match timeout_at(deadline, self.knock()).await {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(error)) => reason = error.to_string(),
                Err(_) => return Err(self.not_ready(reason)),
            }
            sleep(POLL).await;
        }
    }

    /// Connects once, and makes the database if that is what is missing.
    async fn knock(&self) -> Result<(), sqlx::Error> {
        let connection = match PgConnection::connect_with(&self.options(DATABASE)).await {
            Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some("3D000") => {
                let mut connection = PgConnection::connect_with(&self.options("postgres")).await?;
                sqlx::query("CREATE DATABASE agentapi").execute(&mut connection).await?;
                connection
            }
            other => other?,
        };
        connection.close().await
    }

    fn not_ready(&self, reason: String) -> EmbeddedError {
        EmbeddedError::NotReady { waited: START, reason, log: self.files.log(), tail: self.files.log_tail() }
    }

    /// Waits until no process of the cluster lives. Nobody tells us of one that is not our child, so that is looked for.
    pub(super) async fn ended(&self, postmaster: &mut Postmaster) {
        self.ended_by_looking(postmaster, WATCH).await;
    }

    async fn ended_by_looking(&self, postmaster: &mut Postmaster, every: Duration) {
        if let Some(child) = &mut postmaster.0 {
            // An error would mean that it is no child any more; the lock tells.
            let _ = child.wait().await;
        }
        while !self.files.is_dead() {
            sleep(if postmaster.0.is_some() { POLL } else { every }).await;
        }
    }

    /// Stops the cluster unless other processes use it: then the last of them will.
    pub(super) async fn leave(&self, users: &File, postmaster: &mut Postmaster) -> Result<(), EmbeddedError> {
        let _turn = self.turn().await?;
        users.unlock().map_err(EmbeddedError::io(&self.files.cluster))?;
        if try_lock(users, &self.files.cluster)? { self.stop(postmaster).await } else { Ok(()) }
    }

    async fn stop(&self, postmaster: &mut Postmaster) -> Result<(), EmbeddedError> {
        for (mode, patience) in [("fast", STOP_FAST), ("immediate", STOP_IMMEDIATE)] {
            self.tell_to_stop(mode).await?;
            if within(patience, self.ended_by_looking(postmaster, POLL)).await {
                // Postgres has removed what was in it. Left behind, it would be an empty directory.
                let _ = std::fs::remove_dir(&self.files.socket);
                return Ok(());
            }
            tracing::warn!(mode, ?patience, "PostgreSQL did not stop in time");
        }
        Err(EmbeddedError::Stuck { waited: STOP_FAST + STOP_IMMEDIATE })
    }

    /// Signals through `pg_ctl` as the cluster's user: root must not signal a process id that it read from that user's file.
    async fn tell_to_stop(&self, mode: &str) -> Result<(), EmbeddedError> {
        let program = self.binaries.program("pg_ctl");
        let mut command = self.account.command(&program);
        command.arg("stop").arg("-D").arg(&self.files.cluster).args(["-W", "-s", "-m", mode]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        // It fails if Postgres ends by itself just now. Whether it ends is watched, so that is all the same.
        let mut child = Command::from(command).kill_on_drop(true).spawn().map_err(EmbeddedError::io(&program))?;
        within(STOP_IMMEDIATE, child.wait()).await;
        Ok(())
    }
}

async fn within(patience: Duration, future: impl Future) -> bool {
    timeout(patience, future).await.is_ok()
}
