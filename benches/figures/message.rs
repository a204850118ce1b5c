//! How long `POST /v1/agents/{id}/message` takes with a program that answers at once.

use std::time::{Duration, Instant};

use serde_json::json;

use super::report::{P50, P99, Table, millis, quantile};
use super::server::Place;
use super::support::Client;
use super::{Effort, Failure};

/// What coder/agentapi needs with such a program.
const REFERENCE: &str = "1.10 s";

pub(crate) async fn measure(effort: Effort) -> Result<Table, Failure> {
    let count = effort.choose(25, 5);
    effort.tell(&format!("message: {count} messages to each of two agents"));
    let place = Place::new(&[])?;
    let server = place.start()?;
    let client = server.operator().await;
    // At the same time: what takes long is waiting until an agent is idle again.
    let (echoed, answered) = tokio::join!(
        messages(&client, &["cat"], count),
        messages(&client, &["bash", "-c", "while read -rp '> ' line; do echo \"you said $line\"; done"], count),
    );
    server.stop()?;

    let mut table = Table::new("`POST /v1/agents/{id}/message`, type `user`", &["agent", "p50", "p99", "messages"]);
    for (what, took) in [("`cat`", echoed), ("`bash`, a loop of `read` and `echo`", answered)] {
        table.row(&[what, &millis(quantile(&took, P50)), &millis(quantile(&took, P99)), &took.len().to_string()]);
    }
    table.row(&["for comparison: coder/agentapi 0.12.1 with an echoing agent", REFERENCE, "", ""]);
    table.note("From the request to its answer: typed, its echo seen, handed in, reacted to, and stored in Postgres.");
    table.note("The figure of coder/agentapi was measured on coder/agentapi 0.12.1 elsewhere, not in this run.");
    Ok(table)
}

/// How long each of `count` messages took, sorted.
async fn messages(client: &Client, command: &[&str], count: usize) -> Vec<Duration> {
    let agent = client.start_agent(command).await;
    let mut took = Vec::with_capacity(count);
    for number in 0..count {
        client.stable(&agent).await;
        let body = json!({"type": "user", "content": format!("message number {number}")});
        let began = Instant::now();
        client.post(&format!("{agent}/message"), body).await.ok();
        took.push(began.elapsed());
    }
    took.sort_unstable();
    took
}
