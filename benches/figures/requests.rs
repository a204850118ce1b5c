//! Requests a second, beside a bare handler.

use super::bare;
use super::compare::compare;
use super::load::Target;
use super::process::memory;
use super::report::{Table, mb, megabytes};
use super::server::{Place, Server};
use super::support::TestRedis;
use super::{Effort, Failure};

pub(crate) async fn measure(effort: Effort) -> Result<Vec<Table>, Failure> {
    effort.tell("requests: starting the servers");
    // Keeps nothing on disk: what is measured is not the disk.
    let redis = TestRedis::start_with(&["--appendonly", "no"]).await;
    let places = [Place::new(&[])?, Place::new(&[("REDIS_URL", &redis.url())])?];
    let [in_process, in_redis] = [places[0].start()?, places[1].start()?];
    let (local, body) = targets(&in_process).await?;
    let (shared, _) = targets(&in_redis).await?;
    let bare = bare::start(&body)?;
    let named = vec![
        ("bare axum handler, the same JSON", Target::get(bare.address, bare.pid(), "/", None)),
        ("`GET /v1/agents/{id}/status`, in-process", local.status),
        ("`GET /v1/agents/{id}/status`, Redis", shared.status),
        ("`GET /v1/auth/session`, in-process", local.session),
        ("`GET /v1/auth/session`, Redis", shared.session),
    ];
    let comparison = compare("requests", effort, named, || Ok(())).await?;
    let after = [memory(in_process.pid())?, memory(in_redis.pid())?].map(|memory| megabytes(mb(memory.rss)));
    in_process.stop()?;
    in_redis.stop()?;

    let mut table = comparison.table("Requests a second");
    table.note(format!("Answers of {} bytes of JSON from the bare handler and for the session.", body.len()));
    table.note("Client, server, Postgres and Redis share the cores. “server CPU each” is the server's own processor time alone.");
    table.note(
        "Every request is counted for the rate limit, which is set so high that none is refused. Redis keeps nothing on disk.",
    );
    table.note(
        "The session is looked up in the store; user and tenant are in the cache of the process. The status needs no Postgres: it is the gate.",
    );
    table.note(format!("RSS of the servers after this load: in-process {}, Redis {}.", after[0], after[1]));
    Ok(vec![table])
}

/// What is asked of one server.
struct Targets {
    session: Target,
    status: Target,
}

/// Logs in and starts an agent. Returns an answer about the session too.
async fn targets(server: &Server) -> Result<(Targets, String), Failure> {
    let client = server.operator().await;
    let agent = client.start_agent(&["cat"]).await;
    client.stable(&agent).await;
    let body = client.get("/v1/auth/session").await.text;
    let address = server.url.trim_start_matches("http://").parse()?;
    let get = |path: &str| Target::get(address, server.pid(), path, client.token.as_deref());
    Ok((Targets { session: get("/v1/auth/session"), status: get(&format!("{agent}/status")) }, body))
}
