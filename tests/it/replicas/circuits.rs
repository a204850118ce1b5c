//! Circuits of servers close as soon as these are back.

use futures_util::future::join_all;
use serde_json::json;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Fleet;
use crate::support::{Client, Server, eventually, free_port};

/// A fleet in which no failure is noticed, and circuits are open for an hour in general. The second server always has the same address.
async fn fleet() -> (Fleet, [Server; 3]) {
    let mut fleet = Fleet::make().await.env("AGENTAPI_HEARTBEAT_INTERVAL", "60s").env("CIRCUIT_BREAKER_TIMEOUT", "1h");
    fleet.builders[1] = fleet.builders[1].clone().env("AGENTAPI_PORT", &free_port().to_string());
    let servers = fleet.start().await;
    (fleet, servers)
}

/// Sends requests about an agent until the circuit of its server is open.
async fn circuit_opens(client: &Client, agent: &str) {
    let status = format!("{agent}/status");
    eventually("its circuit is open", || async {
        let answers = join_all((0..8).map(|_| client.get(&status))).await;
        answers.iter().any(|answer| answer.status == 503 && answer.json()["code"] == "circuit_open").then_some(())
    })
    .await;
}

async fn is_reached(client: &Client, agent: &str) {
    let status = format!("{agent}/status");
    eventually("it is reached", || async { client.get(&status).await.status.is_success().then_some(()) }).await;
}

#[tokio::test]
async fn announcement_closes_the_circuit_of_a_server() {
    let (fleet, [a, b, c]) = fleet().await;
    let client = c.operator().await;
    let agent = client.at(&b).start_echo_agent().await;
    b.kill().await;
    circuit_opens(&client, &agent).await;
    circuit_opens(&client.at(&a), &agent).await;
    let b = fleet.builders[1].start().await;
    // There are no requests about its agents in the meantime.
    eventually("no circuit is open", || async { (client.get("/v1/circuits").await.ok()["items"] == json!([])).then_some(()) })
        .await;
    assert_eq!(client.at(&b).post_nothing(&format!("{agent}/restart")).await.ok()["state"], "running");
    for other in [&a, &c] {
        is_reached(&client.at(other), &agent).await;
    }
}

#[tokio::test]
async fn request_closes_the_circuit_of_a_server_that_hung() {
    let (_fleet, [_a, b, c]) = fleet().await;
    let client = c.operator().await;
    let agent = client.at(&b).start_echo_agent().await;
    b.hang().await;
    circuit_opens(&client, &agent).await;
    b.resume();
    is_reached(&client, &agent).await;
    client.say(&agent, "one").await;
}

#[tokio::test]
async fn rolling_restarts_under_load_leave_agents_reachable() {
    let (fleet, [a, mut b, c]) = fleet().await;
    let client = c.operator().await;
    for _ in 0..3 {
        let agent = client.at(&b).start_echo_agent().await;
        let (load, stop) = (TaskTracker::new(), CancellationToken::new());
        for place in 0..8 {
            let (through, path) = (if place % 2 == 0 { client.clone() } else { client.at(&a) }, format!("{agent}/status"));
            load.spawn(stop.clone().run_until_cancelled_owned(async move {
                loop {
                    through.get(&path).await;
                }
            }));
        }
        is_reached(&client, &agent).await;
        assert_eq!(b.terminate().await, Some(0));
        b = fleet.builders[1].start().await;
        assert_eq!(client.at(&b).post_nothing(&format!("{agent}/restart")).await.ok()["state"], "running");
        for other in [&a, &c] {
            is_reached(&client.at(other), &agent).await;
        }
        stop.cancel();
        load.close();
        load.wait().await;
    }
}
