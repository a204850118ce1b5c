//! Being one of several servers: where this one is reached, and its heartbeats.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::Instant;

use crate::config;
use crate::domain::AllowedAddress;
use crate::http::App;
use crate::replica::Beat;

/// Longest that a heartbeat may take: Postgres cuts off a statement before that.
const PATIENCE: Duration = Duration::from_secs(15);

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

/// Gives signs of life until the server stops, and gives up what the others took from it while it gave none.
pub(super) fn live(app: &App) {
    let (app, stopping) = (app.clone(), app.lifecycle.stopping());
    let tasks = app.lifecycle.tasks().clone();
    tasks.spawn(async move {
        let mut owes_a_look = false;
        let mut last = Instant::now();
        while stopping.run_until_cancelled(app.replicas.due(last)).await.is_some() {
            last = Instant::now();
            match tokio::time::timeout(PATIENCE, app.replicas.beat()).await {
                Ok(Ok(Beat::Regular)) => {}
                Ok(Ok(Beat::Revived)) => {
                    tracing::warn!("the other servers took this one for dead: its agents are lost");
                    owes_a_look = true;
                }
                Ok(Err(error)) => tracing::warn!(%error, "no sign of life could be given"),
                Err(_) => tracing::warn!("no sign of life could be given in time"),
            }
            if owes_a_look {
                match app.agents.give_up_lost().await {
                    Ok(()) => owes_a_look = false,
                    Err(error) => tracing::warn!(%error, "cannot tell which agents were lost; trying again"),
                }
            }
        }
    });
}
