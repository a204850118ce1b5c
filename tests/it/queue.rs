//! Messages that wait for their agent, and requests that are sent again.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Answer, Client, Event, ServerBuilder, TestDatabase, eventually};

/// Echoes each line, and is busy before that until `go` exists in its directory.
const SLOW: &str = "while read -rp '> ' line; do until [ -e go ]; do printf .; sleep 0.1; done; echo \"you said $line\"; done";

async fn send(client: &Client, agent: &str, text: &str, queue: bool, key: Option<&str>) -> Answer {
    let path = format!("{agent}/message{}", if queue { "?queue=true" } else { "" });
    let mut request = client.request(Method::POST, &path).json(&json!({"type": "user", "content": text}));
    if let Some(key) = key {
        request = request.header("idempotency-key", key);
    }
    client.send(request).await
}

async fn waiting(client: &Client, agent: &str) -> Vec<Value> {
    client.get(&format!("{agent}/queue")).await.ok()["items"].as_array().expect("items").clone()
}

/// What the user said.
async fn said(client: &Client, agent: &str) -> Vec<String> {
    let said = client.conversation(agent).await;
    said.into_iter().filter(|(role, _)| role == "user").map(|(_, text)| text).collect()
}

/// Lets a slow agent go on: a file in its directory, which an upload tells.
async fn go(client: &Client, agent: &str) {
    let form = reqwest::multipart::Form::new().part("file", reqwest::multipart::Part::bytes(b"x".as_slice()).file_name("x"));
    let uploaded = client.send(client.request(Method::POST, &format!("{agent}/upload")).multipart(form)).await.ok();
    let path = std::path::Path::new(uploaded["filePath"].as_str().expect("a path"));
    let work = path.ancestors().find(|folder| folder.join("work").is_dir()).expect("the workspace").join("work");
    std::fs::write(work.join("go"), "").expect("written");
}

#[tokio::test]
async fn queued_messages_are_said_once_in_order_as_the_agent_gets_idle() {
    let server = ServerBuilder::new(&TestDatabase::create().await).start().await;
    let client = server.operator().await;
    let agent = client.start_agent(&["bash", "-c", SLOW]).await;
    client.stable(&agent).await;
    send(&client, &agent, "first", false, None).await.ok();
    assert_eq!(send(&client, &agent, "no", false, None).await.problem(409), "agent_busy");
    for (place, text) in ["second", "third", "third", "fourth"].into_iter().enumerate() {
        let answer = send(&client, &agent, text, true, None).await;
        assert_eq!(answer.status, 202);
        assert_eq!(answer.ok()["queued"]["position"], place);
    }
    let items = waiting(&client, &agent).await;
    let texts: Vec<_> = items.iter().map(|item| (&item["content"], &item["state"])).collect();
    let waits = |text| (json!(text), json!("waiting"));
    let expected = [waits("second"), waits("third"), waits("third"), waits("fourth")];
    assert_eq!(texts, expected.iter().map(|(text, state)| (text, state)).collect::<Vec<_>>());
    // One of them is thought better of.
    let cancelled = format!("{agent}/queue/{}", items[1]["id"].as_str().expect("an id"));
    assert_eq!(client.delete(&cancelled).await.status, 204);
    assert_eq!(client.delete(&cancelled).await.problem(404), "not_found");
    go(&client, &agent).await;
    let all = ["first", "second", "third", "fourth"];
    eventually("all is said", || async { (said(&client, &agent).await == all).then_some(()) }).await;
    eventually("nothing waits", || async { waiting(&client, &agent).await.is_empty().then_some(()) }).await;
    client.stable(&agent).await;
    let last = client.conversation(&agent).await.pop().expect("an answer");
    assert_eq!(last, ("agent".to_owned(), "you said fourth".to_owned()));
}

#[tokio::test]
async fn what_waits_outlives_the_server_and_is_said_to_the_next_life() {
    let builder = ServerBuilder::new(&TestDatabase::create().await);
    let server = builder.start().await;
    let client = server.operator().await;
    let agent = client.start_agent(&["bash", "-c", SLOW]).await;
    client.stable(&agent).await;
    send(&client, &agent, "one", false, None).await.ok();
    send(&client, &agent, "two", true, None).await.ok();
    send(&client, &agent, "three", true, None).await.ok();
    go(&client, &agent).await;
    // Somewhere between the first and the last.
    eventually("one is said", || async { (!said(&client, &agent).await.is_empty()).then_some(()) }).await;
    server.kill().await;
    let server = builder.start().await;
    let client = server.operator().await;
    assert_eq!(client.get(&agent).await.ok()["state"], "lost");
    assert_eq!(send(&client, &agent, "four", true, None).await.problem(409), "agent_not_running");
    client.post_nothing(&format!("{agent}/restart")).await.ok();
    eventually("all is said", || async { (said(&client, &agent).await == ["one", "two", "three"]).then_some(()) }).await;
    eventually("nothing waits", || async { waiting(&client, &agent).await.is_empty().then_some(()) }).await;
}

#[tokio::test]
async fn a_request_with_a_key_is_done_once() {
    let builder = ServerBuilder::new(&TestDatabase::create().await);
    let server = builder.start().await;
    let client = server.operator().await;
    let agent = client.start_echo_agent().await;
    let first = send(&client, &agent, "hello", false, Some("k1")).await;
    let again = send(&client, &agent, "hello", false, Some("k1")).await;
    assert_eq!((again.status, &again.text), (first.status, &first.text), "also while the agent is busy with it");
    first.ok();
    assert_eq!(send(&client, &agent, "other", false, Some("k1")).await.problem(422), "idempotency_key_reused");
    assert_eq!(send(&client, &agent, "hello", true, Some("k1")).await.problem(422), "idempotency_key_reused");
    client.stable(&agent).await;
    send(&client, &agent, "hello", false, Some("k2")).await.ok();
    client.stable(&agent).await;
    assert_eq!(said(&client, &agent).await, ["hello", "hello"]);
    // Another server process knows of it too.
    server.kill().await;
    let server = builder.start().await;
    let client = server.operator().await;
    client.post_nothing(&format!("{agent}/restart")).await.ok();
    client.stable(&agent).await;
    send(&client, &agent, "hello", false, Some("k2")).await.ok();
    assert_eq!(send(&client, &agent, "other", false, Some("k2")).await.problem(422), "idempotency_key_reused");
    assert_eq!(said(&client, &agent).await, ["hello", "hello"]);
    // An answer that was none is not remembered.
    assert_eq!(send(&client, &agent, " ", false, Some("k3")).await.problem(422), "validation_failed");
    send(&client, &agent, "well", false, Some("k3")).await.ok();
}

#[tokio::test]
async fn requests_with_one_key_at_the_same_time_are_done_once() {
    let server = ServerBuilder::new(&TestDatabase::create().await).start().await;
    let client = server.operator().await;
    let agent = client.start_echo_agent().await;
    let answers = futures_util::future::join_all((0..20).map(|_| send(&client, &agent, "hello", false, Some("k")))).await;
    for answer in &answers {
        assert!(answer.status == 200 || answer.problem(409) == "idempotency_key_in_use", "{}", answer.text);
    }
    assert!(answers.iter().any(|answer| answer.status == 200));
    let queued = futures_util::future::join_all((0..20).map(|_| send(&client, &agent, "later", true, Some("q")))).await;
    let ids: std::collections::BTreeSet<_> =
        queued.iter().filter(|answer| answer.status == 202).map(|answer| answer.json()["queued"]["id"].to_string()).collect();
    assert_eq!(ids.len(), 1);
    eventually("both are said", || async { (said(&client, &agent).await == ["hello", "later"]).then_some(()) }).await;
    // Long after it was said, the answer is that it was taken.
    let again = send(&client, &agent, "later", true, Some("q")).await;
    assert_eq!((again.status.as_u16(), again.json()["queued"]["id"].to_string()), (202, ids.first().expect("one").clone()));
}

#[tokio::test]
async fn what_cannot_be_queued_or_keyed_is_refused_by_name() {
    let server = ServerBuilder::new(&TestDatabase::create().await).start().await;
    let client = server.operator().await;
    let agent = client.start_echo_agent().await;
    let location = |answer: &Answer| answer.json()["errors"][0]["location"].clone();
    let raw = json!({"type": "raw", "content": "x"});
    let queued = client.post(&format!("{agent}/message?queue=true"), raw.clone()).await;
    assert_eq!((queued.problem(422).as_str(), location(&queued)), ("validation_failed", json!("query.queue")));
    let keyed = client.request(Method::POST, &format!("{agent}/message")).json(&raw).header("idempotency-key", "k");
    assert_eq!(location(&client.send(keyed).await), "header.idempotency-key");
    let long = send(&client, &agent, "x", false, Some(&"k".repeat(256))).await;
    assert_eq!((long.problem(422).as_str(), location(&long)), ("validation_failed", json!("header.idempotency-key")));
    assert_eq!(send(&client, &agent, " ", true, None).await.problem(422), "validation_failed");
    let wrong = client.post(&format!("{agent}/message?queue=perhaps"), json!({"type": "user", "content": "x"})).await;
    assert_eq!((wrong.problem(422).as_str(), location(&wrong)), ("validation_failed", json!("query.queue")));
}

#[tokio::test]
async fn a_full_queue_takes_no_more_and_is_not_lost() {
    let server = ServerBuilder::new(&TestDatabase::create().await).start().await;
    let client = server.operator().await;
    let agent = client.start_agent(&["bash", "-c", SLOW]).await;
    client.stable(&agent).await;
    send(&client, &agent, "first", false, None).await.ok();
    for number in 0..100 {
        assert_eq!(send(&client, &agent, &format!("message {number}"), true, None).await.status, 202);
    }
    assert_eq!(send(&client, &agent, "one too many", true, None).await.problem(409), "queue_full");
    assert_eq!(waiting(&client, &agent).await.len(), 100);
    let is_stable = |event: &Event| event.data["status"] == "stable";
    go(&client, &agent).await;
    let mut events = client.events(&agent).await;
    events.until("it is idle for a moment", is_stable).await;
    client.delete(&agent).await.ok();
    let said = said(&client, &agent).await.len() - 1;
    assert_eq!(said + waiting(&client, &agent).await.len(), 100, "what was not said still waits");
}
