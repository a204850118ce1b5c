//! Being one of several servers: where this one is reached, and its heartbeats.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config;
use crate::domain::AllowedAddress;
use crate::http::App;
use crate::postgres::{DatabaseError, RegisteredReplica};
use crate::replica::Standing;

/// Longest time of a heartbeat and its consequences; Postgres ends a statement before that.
const TIMEOUT: Duration = Duration::from_secs(15);

/// Where the others reach this server, which listens on `address`.
pub(super) fn url(settings: &config::Replica, address: SocketAddr) -> String {
    if let Some(url) = &settings.url {
        return url.clone();
    }
    if address.ip().is_unspecified() {
        let name = rustix::system::uname();
        return format!("http://{}:{}", name.nodename().to_string_lossy(), address.port());
    }
    format!("http://{address}")
}

/// Where other servers may be: where the settings say, and at the host of this one, which is reached at `own`.
pub(super) fn allowed_addresses(settings: &config::Replica, own: &str) -> Vec<AllowedAddress> {
    let host = url::Url::parse(own).ok().and_then(|url| url.host_str()?.trim_matches(['[', ']']).parse().ok());
    settings.allowed_addresses.iter().cloned().chain(host).collect()
}

/// The task that sends this server's heartbeats. They continue during a shutdown, until the server leaves the others.
pub(super) struct Heartbeats {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Heartbeats {
    pub(super) fn begin(app: &App) -> Self {
        let (app, stop) = (app.clone(), CancellationToken::new());
        let ended = stop.clone();
        let beating = async move {
            // Cancelling is the only end, and needs no result.
            let _cancelled = ended.run_until_cancelled(send(&app)).await;
        };
        Self { stop, task: TaskTracker::new().spawn(beating) }
    }

    /// Ends the heartbeats, also one that is under way.
    pub(super) async fn end(self) {
        self.stop.cancel();
        if let Err(error) = self.task.await {
            tracing::error!(%error, "the task of heartbeats failed");
        }
    }
}

async fn send(app: &App) -> Infallible {
    let (mut last, stopping) = (Instant::now(), app.lifecycle.stopping());
    let mut is_stopping = false;
    loop {
        let is_deregistered = app.agents.is_deregistered();
        tokio::select! {
            () = app.replicas.due(last) => {}
            // A write that Postgres refused shows it before a heartbeat does.
            () = app.agents.until_deregistered(), if !is_deregistered => {}
            // Agents cannot end in order before the server is registered again.
            () = stopping.cancelled(), if is_deregistered && !is_stopping => is_stopping = true,
        }
        last = Instant::now();
        match timeout(TIMEOUT, beat(app)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "a heartbeat failed"),
            Err(_) => tracing::warn!("a heartbeat took too long"),
        }
    }
}

/// Sends one heartbeat, and acts on its result.
async fn beat(app: &App) -> Result<(), DatabaseError> {
    let (beat, is_stopping) = (app.replicas.beat().await?, app.lifecycle.is_stopping());
    if !is_stopping {
        beat.suspects.into_iter().for_each(|suspect| confirm(app, suspect));
    }
    let is_registered = match beat.standing {
        Standing::Registered if app.agents.is_deregistered() => true,
        Standing::Registered | Standing::Unknown => return Ok(()),
        Standing::Deregistered { has_lease } => {
            if app.agents.deregistered() {
                tracing::warn!("another server has deregistered this one: its agents are lost until it is registered again");
            }
            // A server that stops needs no lease: it registers for a moment, so that its agents end in order.
            let registers = has_lease || is_stopping;
            if registers {
                app.replicas.register().await?;
            }
            registers
        }
    };
    if app.agents.reclaim().await? && is_registered {
        app.agents.registered_again();
        tracing::info!("this server is registered again");
    }
    Ok(())
}

/// Checks the health of a server whose lease is missing, in parallel to the heartbeats.
fn confirm(app: &App, suspect: RegisteredReplica) {
    let replicas = app.replicas.clone();
    app.lifecycle.tasks().spawn(async move {
        if let Err(error) = replicas.confirm(&suspect).await {
            tracing::warn!(replica.id = %suspect.replica.id, %error, "a server that does not answer cannot be deregistered now");
        }
    });
}
