//! A private Postgres under the data directory, run from the installed binaries: the database of a server that was told of none.
//!
//! - Started as root, it runs Postgres as `postgres` or `nobody`; Postgres refuses to be root.
//! - It listens on a Unix socket only, in a directory that only its user and root can enter. That directory is the wall: whoever
//!   gets in is the superuser `agentapi`, without password.
//! - Any number of processes may use the same data directory: the first starts Postgres, the others attach, the last stops it.
//!   Files in `postgres/` that are locked, not process ids, tell who is there, so a crash leaves nothing that could mislead.
//! - A process that is killed leaves Postgres running; the next one attaches, and stops it if it is the last.
//! - A Postgres that ends unexpectedly is started again.

mod account;
mod binaries;
mod cluster;
mod error;
mod files;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

pub use self::error::EmbeddedError;

use self::binaries::Binaries;
use self::cluster::{Cluster, Postmaster};

/// The database, and the superuser that owns it.
const DATABASE: &str = "agentapi";
const ROLE: &str = "agentapi";
/// Part of the socket's name; nothing listens on the network.
const PORT: u16 = 5432;

/// Pause before a Postgres that ended is started again; doubles each time up to `RETRY_MAX`.
const RETRY_MIN: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(30);
/// A Postgres that lived this long makes the pause start over.
const STEADY: Duration = Duration::from_secs(60);

/// This process's use of the embedded Postgres. Call [`Embedded::stop`] when done; merely dropped, it leaves Postgres running for
/// the next process.
#[derive(Debug)]
pub struct Embedded {
    cluster: Arc<Cluster>,
    stopping: CancellationToken,
    supervisor: JoinSet<Result<(), EmbeddedError>>,
}

impl Embedded {
    /// Starts (first making it if needed) the cluster under `data_dir/postgres`, or attaches to it if it runs.
    pub async fn open(data_dir: &Path) -> Result<Self, EmbeddedError> {
        Self::open_with(data_dir, &Binaries::candidates()).await
    }

    /// [`Embedded::open`], with the Postgres programs looked for in `candidates`, the first that fits.
    pub async fn open_with(data_dir: &Path, candidates: &[PathBuf]) -> Result<Self, EmbeddedError> {
        let began = Instant::now();
        let cluster = Arc::new(Cluster::prepare(data_dir, candidates).await?);
        let turn = cluster.turn().await?;
        let users = cluster.join()?;
        let postmaster = cluster.ensure_running().await?;
        drop(turn);
        tracing::info!(took = ?began.elapsed(), "the embedded PostgreSQL is ready");

        let stopping = CancellationToken::new();
        let mut supervisor = JoinSet::new();
        supervisor.spawn(supervise(Arc::clone(&cluster), users, postmaster, stopping.clone()));
        Ok(Self { cluster, stopping, supervisor })
    }

    /// Connection options for its database `agentapi`, as the superuser `agentapi`.
    #[must_use]
    pub fn connect_options(&self) -> PgConnectOptions {
        self.cluster.options(DATABASE)
    }

    /// Stops Postgres if no other process uses it: fast, which ends all sessions, and at once if that takes more than seconds.
    pub async fn stop(mut self) -> Result<(), EmbeddedError> {
        self.stopping.cancel();
        match self.supervisor.join_next().await {
            Some(Ok(result)) => result,
            // A panic in the supervisor goes on here.
            Some(Err(error)) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => Ok(()),
            },
            None => Ok(()),
        }
    }
}

/// Starts Postgres again whenever it ends, until told to stop; then leaves it, stopping it if nobody else uses it.
async fn supervise(
    cluster: Arc<Cluster>,
    users: std::fs::File,
    mut postmaster: Postmaster,
    stopping: CancellationToken,
) -> Result<(), EmbeddedError> {
    let mut pause = RETRY_MIN;
    loop {
        let began = Instant::now();
        tokio::select! {
            () = stopping.cancelled() => break,
            () = cluster.ended(&mut postmaster) => {}
        }
        if began.elapsed() >= STEADY {
            pause = RETRY_MIN;
        }
        tracing::error!(?pause, "the embedded PostgreSQL ended unexpectedly; starting it again");
        tokio::select! {
            () = stopping.cancelled() => break,
            () = sleep(pause) => {}
        }
        pause = (pause * 2).min(RETRY_MAX);
        // Cut off, it may leave a Postgres that starts; `leave` finds that one by its lock.
        let started = tokio::select! {
            () = stopping.cancelled() => break,
            started = restart(&cluster) => started,
        };
        match started {
            Ok(started) => postmaster = started,
            Err(error) => tracing::error!(%error, "the embedded PostgreSQL cannot be started"),
        }
    }
    cluster.leave(&users, &mut postmaster).await
}

async fn restart(cluster: &Cluster) -> Result<Postmaster, EmbeddedError> {
    let _turn = cluster.turn().await?;
    cluster.ensure_running().await
}

#[cfg(test)]
mod tests;
