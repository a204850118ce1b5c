//! Agents that speak the Agent Client Protocol, scripted: `tests/fixtures/acp-agent.sh`.

mod approvals;
mod faults;
mod files;
mod replicas;
mod terminals;
mod timeline;
mod turns;

use serde_json::{Value, json};

use crate::support::{Answer, Client, Server, ServerBuilder, TestDatabase};

/// A server and its first operator.
async fn operator() -> (ServerBuilder, Server, Client) {
    let builder = ServerBuilder::new(&TestDatabase::create().await);
    let server = builder.start().await;
    let client = server.operator().await;
    (builder, server, client)
}

fn command(mode: &str) -> [&str; 3] {
    ["bash", concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/acp-agent.sh"), mode]
}

/// Asks for a scripted agent that begins as `mode` says, with what else is asked for.
async fn create(client: &Client, mode: &str, rest: Value) -> Answer {
    let mut body = json!({"type": "custom", "transport": "acp", "command": command(mode)});
    body.as_object_mut().expect("an object").extend(rest.as_object().cloned().unwrap_or_default());
    client.post("/v1/agents", body).await
}

/// Starts a scripted agent. Returns its path.
async fn start(client: &Client, mode: &str, rest: Value) -> String {
    let answer = create(client, mode, rest).await;
    let location = answer.header("location").to_owned();
    answer.ok();
    client.stable(&location).await;
    location
}

/// Says something to an agent, and does not wait for it.
async fn tell(client: &Client, agent: &str, text: &str) {
    client.post(&format!("{agent}/message"), json!({"type": "user", "content": text})).await.ok();
}

/// Says something to an agent. Returns what it says to that.
async fn say(client: &Client, agent: &str, text: &str) -> String {
    tell(client, agent, text).await;
    client.stable(agent).await;
    let (role, content) = client.conversation(agent).await.pop().expect("a message");
    if role == "agent" { content } else { String::new() }
}

/// The entries of an agent's timeline.
async fn timeline(client: &Client, agent: &str) -> Vec<Value> {
    let page = client.get(&format!("{agent}/timeline?limit=100")).await.ok();
    assert_eq!(page["next"], Value::Null, "{page}");
    page["items"].as_array().expect("items").clone()
}

/// The data of the entries of one kind.
async fn entries(client: &Client, agent: &str, kind: &str) -> Vec<Value> {
    let timeline = timeline(client, agent).await;
    timeline.into_iter().filter(|entry| entry["kind"] == kind).map(|entry| entry["data"].clone()).collect()
}
