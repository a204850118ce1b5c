//! Agents that other servers run: coder/agentapi's (a look-alike) and ours.

mod attaching;
mod faults;
mod following;
mod own_server;
mod stub;

use std::collections::BTreeSet;

use serde_json::{Value, json};

use self::faults::Mode;
use self::stub::Stub;
use crate::support::{Answer, Client, Event, EventStream, Server, ServerBuilder, TestDatabase, eventually};

/// A server that may call this machine, and is not patient with what fails.
async fn builder() -> ServerBuilder {
    near(&TestDatabase::create().await)
}

fn near(database: &TestDatabase) -> ServerBuilder {
    ServerBuilder::new(database).env("AGENT_REMOTE_ALLOWED_NETWORKS", "127.0.0.0/8").env("CIRCUIT_BREAKER_TIMEOUT", "500ms")
}

async fn start() -> (Server, Client) {
    let server = builder().await.start().await;
    let client = server.operator().await;
    (server, client)
}

async fn try_attach(client: &Client, url: &str) -> Answer {
    client.post("/v1/agents", json!({"type": "claude", "transport": "remote", "url": url})).await
}

/// Attaches to an agent. Returns its path.
async fn attach(client: &Client, url: &str) -> String {
    let answer = try_attach(client, url).await;
    let location = answer.header("location").to_owned();
    answer.ok();
    location
}

fn is_stable(event: &Event) -> bool {
    event.name == "status_change" && event.data["status"] == "stable"
}

/// Waits until an agent's status is known again.
async fn reached(client: &Client, agent: &str) {
    eventually("the remote agent is reached", || async {
        let answer = client.get(&format!("{agent}/status")).await;
        (answer.status == 200).then_some(())
    })
    .await;
}

/// Waits until it is known that an agent's server is away. Returns the answer.
async fn missed(client: &Client, agent: &str) -> Answer {
    eventually("the remote agent is missed", || async {
        let answer = client.get(&format!("{agent}/status")).await;
        (answer.status == 503).then_some(answer)
    })
    .await
}

fn said(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(role, content)| ((*role).to_owned(), (*content).to_owned())).collect()
}

/// The messages that events told of, and whether none was told twice in the same state.
fn told(events: &[Event]) -> Vec<(i64, String)> {
    let messages = events.iter().filter(|event| event.name == "message_update");
    let told: Vec<(i64, String)> = messages
        .map(|event| {
            (event.data["id"].as_i64().expect("a number"), event.data["message"].as_str().expect("text").trim().to_owned())
        })
        .collect();
    let distinct: BTreeSet<&(i64, String)> = told.iter().collect();
    assert_eq!(distinct.len(), told.len(), "told twice: {told:?}");
    told
}
