//! How long `POST /v1/agents/{id}/message` takes, and whether anybody else has to wait meanwhile.

use std::time::{Duration, Instant};

use serde_json::json;
use tokio::time::timeout;

use super::load::Target;
use super::report::{P50, P99, Table, millis, quantile};
use super::server::{Place, Server};
use super::support::Client;
use super::{Effort, Failure};

/// Most that a message to an agent with echo should take, in seconds.
const GOAL: f64 = 0.3;
/// Most that the status should take, in seconds.
pub(crate) const STATUS_GOAL: f64 = 0.005;

/// Shows nothing of what it is sent, and never answers.
const DEAD: [&str; 3] = ["bash", "-c", "stty -echo; sleep 1000"];
/// Shows nothing of what is typed, and answers.
const WITHOUT_ECHO: [&str; 3] = ["bash", "-c", "stty -echo; while read -r line; do echo \"you said $line\"; done"];
const WITH_ECHO: [&str; 3] = ["bash", "-c", "while read -rp '> ' line; do echo \"you said $line\"; done"];

pub(crate) async fn measure(effort: Effort) -> Result<Table, Failure> {
    let count = effort.choose(100, 5);
    effort.tell(&format!("sending: {count} messages to each of two agents, and fewer to one without echo"));
    let place = Place::new(&[])?;
    let server = place.start()?;
    let client = server.operator().await;
    // At the same time: what takes long is waiting until an agent is idle again.
    let (echoed, answered, silent) = tokio::join!(
        messages(&client, &["cat"], count),
        messages(&client, &WITH_ECHO, count),
        messages(&client, &WITHOUT_ECHO, count / 5),
    );
    let during_messages = status_while_messages(&server, &client, effort).await?;
    effort.tell("sending: to an agent that does not react");
    let during_one =
        status_while_sending(&server, &client, effort.choose(Duration::from_secs(30), Duration::from_secs(5))).await?;
    server.stop()?;

    let mut table = Table::with_goals("`POST /v1/agents/{id}/message`, type `user`, and the status meanwhile");
    let in_millis = |seconds: f64| millis(Duration::from_secs_f64(seconds));
    for (what, took) in [("`cat`", &echoed), ("`bash`, a loop of `read` and `echo`", &answered)] {
        table.goal(&format!("{what}, p50"), (quantile(took, P50).as_secs_f64(), GOAL), in_millis);
        table.goal(&format!("{what}, p99"), (quantile(took, P99).as_secs_f64(), GOAL), in_millis);
    }
    table.figure("the same without echo, p50", &millis(quantile(&silent, P50)));
    for (what, status) in [
        ("while messages are sent to it", &during_messages),
        ("within one message, to an agent that does not react", &during_one.status),
    ] {
        table.goal(
            &format!("`GET /v1/agents/{{id}}/status` {what}, p99"),
            (quantile(status, P99).as_secs_f64(), STATUS_GOAL),
            in_millis,
        );
    }
    table.figure("coder/agentapi 0.12.1: with echo", "1.10 s");
    table.figure("coder/agentapi 0.12.1: without echo", "2.05 s");
    table.figure("coder/agentapi 0.12.1: status while a message is sent", "all of it");
    table.note(format!(
        "{count} messages each; from the request to its answer: typed, its echo seen, handed in, reacted to, and stored in Postgres. \
         Without echo, {} messages: the echo is waited for for 2 s.",
        count / 5
    ));
    table.note(format!(
        "The status is asked for 200 times a second: {} times while messages are sent, {} times within the {:.1} s of the one.",
        during_messages.len(),
        during_one.status.len(),
        during_one.took.as_secs_f64()
    ));
    table.note("The figures of coder/agentapi were measured elsewhere, not in this run.");
    Ok(table)
}

/// The request for an agent's status.
pub(crate) fn status(server: &Server, client: &Client, agent: &str) -> Result<Target, Failure> {
    let address = server.url.trim_start_matches("http://").parse()?;
    Ok(Target::get(address, server.pid(), &format!("{agent}/status"), client.token.as_deref()))
}

/// How long each of `count` messages took, sorted.
async fn messages(client: &Client, command: &[&str], count: usize) -> Vec<Duration> {
    let agent = client.start_agent(command).await;
    let mut took = Vec::with_capacity(count);
    for number in 0..count {
        client.stable(&agent).await;
        took.push(send(client, &agent, number).await);
    }
    took.sort_unstable();
    took
}

async fn send(client: &Client, agent: &str, number: usize) -> Duration {
    let body = json!({"type": "user", "content": format!("message number {number}")});
    let began = Instant::now();
    client.post(&format!("{agent}/message"), body).await.ok();
    began.elapsed()
}

/// How long the status took while messages were on their way, and only then; sorted.
async fn status_while_messages(server: &Server, client: &Client, effort: Effort) -> Result<Vec<Duration>, Failure> {
    let agent = client.start_agent(&WITH_ECHO).await;
    let status = status(server, client, &agent)?;
    let mut took = Vec::new();
    for number in 0..effort.choose(20, 3) {
        client.stable(&agent).await;
        let asking = status.ask_steadily();
        send(client, &agent, number).await;
        took.extend(asking.end()?);
    }
    took.sort_unstable();
    Ok(took)
}

/// A message that takes long.
struct Long {
    took: Duration,
    status: Vec<Duration>,
}

/// Sends to an agent that does not react, for so long at most.
async fn status_while_sending(server: &Server, client: &Client, longest: Duration) -> Result<Long, Failure> {
    let agent = client.start_agent(&DEAD).await;
    client.stable(&agent).await;
    let asking = status(server, client, &agent)?.ask_steadily();
    let began = Instant::now();
    let body = json!({"type": "user", "content": "is anybody there?"});
    let _given_up = timeout(longest, client.post(&format!("{agent}/message"), body)).await;
    Ok(Long { took: began.elapsed(), status: asking.end()? })
}
