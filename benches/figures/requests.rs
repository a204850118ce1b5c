//! Requests a second, beside a bare handler.

use std::time::Duration;

use super::bare::Bare;
use super::load::{Outcome, Target};
use super::process::memory;
use super::report::{P50, P99, Table, mb, megabytes, millis, quantile, thousands};
use super::server::{Place, Server};
use super::support::TestRedis;
use super::{Effort, Failure};

const CONNECTIONS: [usize; 2] = [1, 64];

pub(crate) async fn measure(effort: Effort) -> Result<Vec<Table>, Failure> {
    effort.tell("requests: starting the servers");
    // Keeps nothing on disk: what is measured is not the disk.
    let redis = TestRedis::start_with(&["--appendonly", "no"]).await;
    let places = [Place::new(&[])?, Place::new(&[("REDIS_URL", &redis.url())])?];
    let [in_process, in_redis] = [places[0].start()?, places[1].start()?];
    let (local, body) = targets(&in_process).await?;
    let (shared, _) = targets(&in_redis).await?;
    let bare = Bare::start(&body)?;
    let named = [
        ("bare axum handler, the same JSON", Target::get(bare.address, bare.pid(), "/", None)),
        ("`GET /v1/agents/{id}/status`, in-process", local.status),
        ("`GET /v1/agents/{id}/status`, Redis", shared.status),
        ("`GET /v1/auth/session`, in-process", local.session),
        ("`GET /v1/auth/session`, Redis", shared.session),
    ];
    let (rounds, burst) = effort.choose((5, Duration::from_secs(2)), (2, Duration::from_secs(1)));
    let mut outcomes = CONNECTIONS.map(|_| named.each_ref().map(|_| Vec::new()));
    for round in 1..=rounds {
        effort.tell(&format!("requests: round {round} of {rounds}"));
        for (connections, outcomes) in CONNECTIONS.iter().zip(&mut outcomes) {
            for ((_, target), outcomes) in named.iter().zip(outcomes) {
                outcomes.push(target.burst(*connections, burst).await?);
            }
        }
    }
    let after = [memory(in_process.pid())?, memory(in_redis.pid())?].map(|memory| megabytes(mb(memory.rss)));
    in_process.stop()?;
    in_redis.stop()?;

    let columns = ["request", "connections", "requests/s", "of the bare", "rounds", "p50", "p99", "server CPU each"];
    let mut table = Table::new("Requests a second", &columns);
    for (connections, outcomes) in CONNECTIONS.iter().zip(outcomes) {
        let bare: Vec<f64> = outcomes[0].iter().map(Outcome::per_second).collect();
        for ((name, _), outcomes) in named.iter().zip(outcomes) {
            let rates: Vec<f64> = outcomes.iter().map(Outcome::per_second).collect();
            // Round by round: what disturbed a round disturbed both.
            let of_bare = rates.iter().zip(&bare).map(|(rate, bare)| 100.0 * rate / bare).collect();
            let sum = sum(outcomes);
            table.row(&[
                name,
                &connections.to_string(),
                &thousands(median(rates.clone())),
                &format!("{:.0} %", median(of_bare)),
                &spread(&rates),
                &millis(quantile(&sum.latencies, P50)),
                &millis(quantile(&sum.latencies, P99)),
                &format!("{:.0} µs", sum.cpu_per_request().as_secs_f64() * 1e6),
            ]);
        }
    }
    table.note(format!(
        "{rounds} rounds, in each a burst of {} s of every row in turn. “requests/s” and “of the bare” are medians of the rounds, \
         “rounds” is the slowest and the fastest of them. Answers of {} bytes of JSON from the bare handler and for the session.",
        burst.as_secs(),
        body.len()
    ));
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

/// All bursts together, their latencies sorted.
fn sum(outcomes: Vec<Outcome>) -> Outcome {
    let mut sum = Outcome::default();
    for outcome in outcomes {
        sum.add(outcome);
    }
    sum.latencies.sort_unstable();
    sum
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// The slowest and the fastest.
fn spread(rates: &[f64]) -> String {
    let (slowest, fastest) = rates.iter().fold((f64::MAX, 0.0_f64), |(low, high), &rate| (low.min(rate), high.max(rate)));
    format!("{}–{}", thousands(slowest), thousands(fastest))
}
