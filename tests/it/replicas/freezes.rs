//! Servers that freeze or are disconnected for a while, and come back unharmed.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use reqwest::Method;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::{Fleet, Isolated, is_stable, said};
use crate::support::{Client, Event, EventStream, Network, eventually};

/// Answers each line with its own process id and the line.
const NAMED: &str = "while read -rp '> ' line; do echo \"$$ said $line\"; done";

/// The answer of a process with this id to `text`.
fn answer(pid: &str, text: &str) -> (String, String) {
    ("agent".to_owned(), format!("{pid} said {text}"))
}

/// Starts an agent that answers with its process id. Returns its path and that id.
async fn named_agent(client: &Client) -> (String, String) {
    let agent = client.start_agent(&["bash", "-c", NAMED]).await;
    client.stable(&agent).await;
    client.say(&agent, "one").await;
    let answer = said(client, &agent).await;
    let pid = answer.split_once(' ').expect("words").0.to_owned();
    (agent, pid)
}

fn is_gone(pid: &str) -> bool {
    !Path::new("/proc").join(pid).exists()
}

#[tokio::test]
async fn frozen_server_gets_its_agents_back() {
    let (fleet, [a, b, c]) = Fleet::started().await;
    let client = a.operator().await;
    let (agent, pid) = named_agent(&client.at(&b)).await;
    b.hang().await;
    client.in_state(&agent, "lost").await;
    // Others read it, and cache the conversation of the ended agent.
    for client in [&client, &client.at(&c)] {
        assert_eq!(client.conversation(&agent).await.last(), Some(&answer(&pid, "one")));
        assert_eq!(client.get(&format!("{agent}/status")).await.problem(409), "agent_not_running");
    }
    b.resume();
    let body = client.in_state(&agent, "running").await;
    assert_eq!(body["ended_at"], Value::Null);
    for (place, client) in [client.at(&c), client.at(&b), client.clone()].iter().enumerate() {
        client.stable(&agent).await;
        client.say(&agent, &format!("again {place}")).await;
        assert_eq!(client.conversation(&agent).await.last(), Some(&answer(&pid, &format!("again {place}"))));
    }
    let whole = client.conversation(&agent).await;
    assert_eq!(whole.len(), 9);
    assert_eq!(client.delete(&agent).await.ok()["state"], "stopped");
    for server in [&a, &b, &c] {
        assert_eq!(client.at(server).conversation(&agent).await, whole, "as it is stored");
    }
    let mut connection = fleet.database.connect().await;
    let fence: i64 = sqlx::query_scalar("SELECT fence FROM agents").fetch_one(&mut connection).await.expect("one agent");
    assert_eq!(fence, 1, "it never ended");
}

#[tokio::test]
async fn output_before_the_server_knows_is_stored() {
    let (fleet, [a, b, _c]) = Fleet::started().await;
    let client = a.operator().await;
    // Writes all the time, so that the server has something to store as soon as it continues.
    let loud = "for n in $(seq 1 100000); do echo \"at $n\"; sleep 0.05; done & while read -rp '> ' line; do echo \"b said $line\"; done";
    let agent = client.at(&b).start_agent(&["bash", "-c", loud]).await;
    let number = |text: &str| text.rsplit_once("at ").and_then(|(_, number)| number.trim().parse::<u32>().ok());
    for _ in 0..3 {
        eventually("it has said something", || async { number(&said(&client.at(&b), &agent).await) }).await;
        b.hang().await;
        client.in_state(&agent, "lost").await;
        b.resume();
        client.in_state(&agent, "running").await;
    }
    let before = eventually("it is asked", || async { number(&said(&client, &agent).await) }).await;
    eventually("it goes on", || async { number(&said(&client, &agent).await).filter(|&now| now > before) }).await;
    assert!(!fleet.builders[1].logged().contains("no longer this server's"), "nothing was killed");
    assert!(!fleet.builders[1].logged().contains("messages are dropped"), "nothing was dropped");
    let last = said(&client, &agent).await;
    client.delete(&agent).await.ok();
    let stored = said(&client, &agent).await;
    assert!(number(&stored) >= number(&last), "{stored} is older than {last}");
}

#[tokio::test]
async fn agent_that_exits_during_a_freeze_is_exited() {
    let (_fleet, [a, b, _c]) = Fleet::started().await;
    let client = a.operator().await;
    let (agent, pid) = named_agent(&client.at(&b)).await;
    let whole = client.conversation(&agent).await;
    b.hang().await;
    client.in_state(&agent, "lost").await;
    let pid = Pid::from_raw(pid.parse().expect("a number")).expect("a process");
    kill_process(pid, Signal::KILL).expect("it runs");
    b.resume();
    client.in_state(&agent, "exited").await;
    assert_eq!(client.conversation(&agent).await, whole);
}

#[tokio::test]
async fn lost_agent_that_is_stopped_stays_stopped() {
    let (fleet, [a, b, _c]) = Fleet::started().await;
    let client = a.operator().await;
    let (agent, pid) = named_agent(&client.at(&b)).await;
    b.hang().await;
    client.in_state(&agent, "lost").await;
    assert_eq!(client.delete(&agent).await.ok()["state"], "stopped");
    b.resume();
    let killed = "the agent is no longer this server's";
    eventually("it is killed", || async { fleet.builders[1].logged().contains(killed).then_some(()) }).await;
    eventually("its process is gone", || async { is_gone(&pid).then_some(()) }).await;
    assert_eq!(client.get(&agent).await.ok()["state"], "stopped");
}

#[tokio::test]
async fn stream_of_a_lost_agent_is_resumed_when_it_is_back() {
    let (_fleet, [a, b, c]) = Fleet::started().await;
    let client = a.operator().await;
    let (agent, pid) = named_agent(&client.at(&b)).await;
    let at_c = client.at(&c);
    let mut events = at_c.events(&agent).await;
    let mut all = events.until("the snapshot", is_stable).await;
    b.hang().await;
    client.in_state(&agent, "lost").await;
    while let Some(event) = events.next().await {
        all.push(event);
    }
    // Reconnects as a browser does, until the answer is 204.
    let again = |all: &[Event]| {
        let last = all.last().expect("events").id.clone();
        at_c.request(Method::GET, &format!("{agent}/events")).header("last-event-id", last)
    };
    assert_eq!(EventStream::open(again(&all)).await.next().await, None, "nothing is new, and the stream is not final");
    b.resume();
    client.in_state(&agent, "running").await;
    client.stable(&agent).await;
    client.say(&agent, "two").await;
    let is_answer = |event: &Event| event.data["message"].as_str().is_some_and(|text| text.trim() == format!("{pid} said two"));
    all.extend(EventStream::open(again(&all)).await.until("the answer", is_answer).await);
    let told: BTreeMap<i64, &str> =
        all.iter().filter_map(|event| Some((event.data["id"].as_i64()?, event.data["message"].as_str()?.trim()))).collect();
    let told: Vec<&str> = told.into_values().collect();
    let answers = [format!("{pid} said one"), format!("{pid} said two")];
    assert_eq!(told[1..], ["one", &answers[0], "two", &answers[1]]);
    assert!(all.is_sorted_by(|one, other| one.id.parse::<i64>().expect("a number") < other.id.parse().expect("a number")));
}

#[tokio::test]
async fn freeze_within_the_timeout_costs_nothing() {
    let fleet = Fleet::make().await.env("AGENTAPI_HEARTBEAT_TIMEOUT", "10m");
    let [a, b, _c] = fleet.start().await;
    let client = a.operator().await;
    let (agent, _) = named_agent(&client.at(&b)).await;
    b.hang().await;
    // Several times as long as the default timeout.
    fleet.heartbeats(20).await;
    assert_eq!(client.get(&agent).await.ok()["state"], "running");
    b.resume();
    client.stable(&agent).await;
    client.say(&agent, "two").await;
}

#[tokio::test]
async fn server_without_redis_stays_off_until_it_is_back() {
    let isolated = Isolated::make().await;
    let [a, b, c] = isolated.fleet.start().await;
    let client = a.operator().await;
    let (agent, pid) = named_agent(&client.at(&b)).await;
    // The others cannot reach it, and it cannot reach Redis, but Postgres.
    isolated.http.set(Network::Cut);
    isolated.redis.set(Network::Cut);
    client.in_state(&agent, "lost").await;
    let builder = &isolated.fleet.builders[1];
    let failed = || builder.logged().matches("lease cannot be renewed").count();
    let before = failed();
    eventually("it has tried ten times", || async { (failed() >= before + 10).then_some(()) }).await;
    assert_eq!(isolated.fleet.members().await.len(), 2, "it does not register");
    let deregistrations =
        || [0, 2].map(|n| isolated.fleet.builders[n].logged().matches("a server died").count()).iter().sum::<usize>();
    assert_eq!(deregistrations(), 1, "it was deregistered once");
    assert_eq!(client.get(&agent).await.ok()["state"], "lost");
    isolated.http.set(Network::Well);
    isolated.redis.set(Network::Well);
    client.in_state(&agent, "running").await;
    let at_c = client.at(&c);
    at_c.stable(&agent).await;
    at_c.say(&agent, "two").await;
    assert_eq!(at_c.conversation(&agent).await.last(), Some(&answer(&pid, "two")));
    assert_eq!(deregistrations(), 1);
}

#[tokio::test]
async fn server_without_redis_kills_what_was_restarted_elsewhere() {
    let isolated = Isolated::make().await;
    let [a, b, c] = isolated.fleet.start().await;
    let client = a.operator().await;
    let (agent, pid) = named_agent(&client.at(&b)).await;
    isolated.http.set(Network::Cut);
    isolated.redis.set(Network::Cut);
    client.in_state(&agent, "lost").await;
    let builder = &isolated.fleet.builders[1];
    eventually("it knows", || async { builder.logged().contains("has deregistered this one").then_some(()) }).await;
    assert_eq!(client.at(&c).post_nothing(&format!("{agent}/restart")).await.ok()["state"], "running");
    eventually("its process is gone", || async { is_gone(&pid).then_some(()) }).await;
    assert_eq!(client.get(&agent).await.ok()["state"], "running");
    client.stable(&agent).await;
}

#[tokio::test]
async fn server_without_redis_keeps_its_agents_while_it_answers() {
    let isolated = Isolated::make().await;
    let [a, b, c] = isolated.fleet.start().await;
    let client = a.operator().await;
    let (agent, pid) = named_agent(&client.at(&b)).await;
    isolated.redis.set(Network::Cut);
    let failed = || isolated.fleet.builders[1].logged().matches("lease cannot be renewed").count();
    eventually("its lease has long run out", || async { (failed() >= 20).then_some(()) }).await;
    assert_eq!(client.get(&agent).await.ok()["state"], "running");
    let at_c = client.at(&c);
    // Each server verifies sessions itself.
    let refused = at_c.get(&format!("{agent}/status")).await;
    assert_eq!(refused.problem(503), "store_unavailable");
    assert_eq!(isolated.fleet.members().await.len(), 3);
    isolated.redis.set(Network::Well);
    let is_answered = async || (at_c.get(&format!("{agent}/status")).await.status == 200).then_some(());
    eventually("its server reaches Redis again", is_answered).await;
    at_c.say(&agent, "two").await;
    assert_eq!(at_c.conversation(&agent).await.last(), Some(&answer(&pid, "two")));
}

#[tokio::test]
async fn flushed_leases_cost_no_living_server_its_agents() {
    // Health checks use names that browsers may not use.
    let fleet = Fleet::make().await.env("AGENTAPI_ALLOWED_HOSTS", "agents.example");
    let [a, b, c] = fleet.start().await;
    let nobody = a.anonymous();
    let named = |request: reqwest::RequestBuilder| request.header("host", "agents.example");
    let login = nobody.request(Method::POST, "/v1/auth/login").json(&crate::support::operators_login());
    let login = nobody.send(named(login)).await.ok();
    let client = nobody.with_token(login["token"].as_str().expect("a token")).at(&b);
    let new = json!({"type": "custom", "command": ["cat"]});
    let agent = client.send(named(client.request(Method::POST, "/v1/agents").json(&new))).await.ok();
    let keys: Vec<String> = fleet.members().await.iter().map(|id| format!("replica:{id}")).collect();
    let flush = async {
        let mut redis = fleet.redis.connect().await;
        let mut pace = tokio::time::interval(Duration::from_millis(2));
        loop {
            pace.tick().await;
            redis::cmd("DEL").arg(&keys).query_async::<()>(&mut redis).await.expect("deleted");
        }
    };
    tokio::select! {
        () = flush => {}
        () = fleet.heartbeats(20) => {}
    }
    let client = client.at(&c);
    let path = format!("/v1/agents/{}", agent["id"].as_str().expect("an id"));
    assert_eq!(client.send(named(client.request(Method::GET, &path))).await.ok()["state"], "running");
    assert_eq!(fleet.members().await.len(), 3);
}

#[tokio::test]
async fn queue_of_a_frozen_server_is_delivered_once_it_is_back() {
    let (_fleet, [a, b, _c]) = Fleet::started().await;
    let client = a.operator().await;
    // Busy with its first message until a file exists.
    let folder = tempfile::tempdir().expect("a folder");
    let go = folder.path().join("go");
    let slow = format!(
        "while read -rp '> ' line; do until [ -e {} ]; do printf .; sleep 0.1; done; echo \"heard $line\"; done",
        go.display()
    );
    let agent = client.at(&b).start_agent(&["bash", "-c", &slow]).await;
    client.stable(&agent).await;
    let path = format!("{agent}/message?queue=true");
    let send = |text: &'static str| client.post(&path, json!({"type": "user", "content": text}));
    client.post(&format!("{agent}/message"), json!({"type": "user", "content": "one"})).await.ok();
    for text in ["two", "three"] {
        assert_eq!(send(text).await.status, 202);
    }
    b.hang().await;
    client.in_state(&agent, "lost").await;
    // It accepts nothing more, and queued messages can be cancelled.
    assert_eq!(send("four").await.problem(409), "agent_not_running");
    let waiting = client.get(&format!("{agent}/queue")).await.ok();
    let states: Vec<_> =
        waiting["items"].as_array().expect("items").iter().map(|item| (&item["content"], &item["state"])).collect();
    assert_eq!(states, [(&json!("two"), &json!("waiting")), (&json!("three"), &json!("waiting"))]);
    let id = waiting["items"][0]["id"].as_str().expect("an id");
    assert_eq!(client.delete(&format!("{agent}/queue/{id}")).await.status, 204);
    b.resume();
    client.in_state(&agent, "running").await;
    std::fs::write(&go, "").expect("written");
    eventually("nothing waits", || async {
        let waiting = client.get(&format!("{agent}/queue")).await.ok();
        (waiting["items"] == json!([])).then_some(())
    })
    .await;
    client.stable(&agent).await;
    let said = client.conversation(&agent).await;
    let users: Vec<_> = said.iter().filter(|(role, _)| role == "user").map(|(_, text)| text.as_str()).collect();
    assert_eq!(users, ["one", "three"]);
}
