//! Event streams that were cut off go on where they were.

use reqwest::Method;
use serde_json::json;

use crate::support::{Client, Event, EventStream, ServerBuilder, TestDatabase};

async fn resume(client: &Client, agent: &str, after: &str) -> EventStream {
    let request = client.request(Method::GET, &format!("{agent}/events")).header("last-event-id", after);
    EventStream::open(request).await
}

fn is_stable(event: &Event) -> bool {
    event.name == "status_change" && event.data["status"] == "stable"
}

#[tokio::test]
async fn a_stream_resumes_after_any_event_with_exactly_what_followed() {
    let server = ServerBuilder::new(&TestDatabase::create().await).start().await;
    let client = server.operator().await;
    let agent = client.start_echo_agent().await;
    let mut events = client.events(&agent).await;
    let mut told = events.until("the snapshot", is_stable).await;
    client.say(&agent, "hello").await;
    told.extend(events.until("the answer", is_stable).await);
    for (place, event) in told.iter().enumerate() {
        let id: i64 = event.id.parse().expect("a number");
        assert!(told[..place].iter().all(|before| before.id.parse::<i64>().expect("a number") < id), "{told:?}");
        if place + 1 == told.len() {
            break;
        }
        let rest = resume(&client, &agent, &event.id).await.until("what followed", is_stable).await;
        // The greeting's status is followed by another: only the last is told.
        let expected: Vec<&Event> = told[place + 1..].iter().filter(|event| !is_superseded(event, &told)).collect();
        assert_eq!(rest.iter().collect::<Vec<_>>(), expected, "after {event:?}");
    }
}

/// Whether a later event tells something newer of the same thing.
fn is_superseded(event: &Event, told: &[Event]) -> bool {
    let same = |later: &&Event| later.name == event.name && later.data["id"] == event.data["id"];
    told.iter().rfind(same).is_some_and(|last| last.id != event.id)
}

#[tokio::test]
async fn a_stream_outlives_a_restart_of_its_agent_without_loss_or_repetition() {
    let server = ServerBuilder::new(&TestDatabase::create().await).start().await;
    let client = server.operator().await;
    let agent = client.start_echo_agent().await;
    client.say(&agent, "one").await;
    let seen = client.events(&agent).await.until("the first life", is_stable).await;
    client.post(&format!("{agent}/restart"), json!({})).await.ok();
    client.stable(&agent).await;
    client.say(&agent, "two").await;
    let last = &seen.last().expect("an event").id;
    let rest = resume(&client, &agent, last).await.until("the second life", is_stable).await;
    let messages: Vec<_> = rest.iter().filter(|event| event.name == "message_update").collect();
    // The last message of the first life is told again: it may have changed after it was last told.
    let ids: Vec<_> = messages.iter().map(|event| event.data["id"].as_i64().expect("a number")).collect();
    assert_eq!(ids, [2, 3, 4], "{rest:?}");
    assert_eq!(messages[1].data["message"], "two");
}

#[tokio::test]
async fn the_stream_of_an_ended_agent_tells_what_was_said_and_ends_for_good() {
    let server = ServerBuilder::new(&TestDatabase::create().await).start().await;
    let client = server.operator().await;
    let agent = client.start_echo_agent().await;
    client.say(&agent, "hello").await;
    client.delete(&agent).await.ok();
    let mut events = client.events(&agent).await;
    let mut told = Vec::new();
    while let Some(event) = events.next().await {
        told.push(event);
    }
    let said: Vec<_> = told.iter().map(|event| event.data["message"].as_str().expect("text").trim().to_owned()).collect();
    assert_eq!(said, ["", "hello", "you said hello"]);
    let after = |id: &str| client.request(Method::GET, &format!("{agent}/events")).header("last-event-id", id);
    assert_eq!(resume(&client, &agent, &told[1].id).await.next().await.as_ref(), Some(&told[2]));
    let over = after(&told[2].id).send().await.expect("an answer");
    assert_eq!(over.status(), 204, "a browser does not try again");
    let wrong = after("yesterday").send().await.expect("an answer");
    assert_eq!(wrong.status(), 422);
    let problem: serde_json::Value = wrong.json().await.expect("JSON");
    assert_eq!(problem["errors"][0]["location"], "header.last-event-id");
}
