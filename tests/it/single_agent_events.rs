//! What those who watch a single agent are told.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{Client, ECHO, Event, EventStream, SingleBuilder};

fn is_stable(event: &Event) -> bool {
    event.name == "status_change" && event.data["status"] == "stable"
}

/// What an event tells, but for times.
fn told(events: &[Event]) -> Vec<Value> {
    let without_time = |event: &Event| {
        let mut data = event.data.clone();
        let time = data.as_object_mut().expect("an object").remove("time");
        assert_eq!(time.is_some(), event.name != "status_change", "{event:?}");
        json!([event.name, data])
    };
    events.iter().map(without_time).collect()
}

async fn open(client: &Client, path: &str, last: &str) -> EventStream {
    EventStream::open(client.request(Method::GET, path).header("last-event-id", last)).await
}

#[tokio::test]
async fn a_stream_is_a_snapshot_and_then_each_change() {
    let single = SingleBuilder::scripted("|0|Ready.\nhello|0|Hi.\n").start_stable().await;
    let mut events = single.client.events("").await;
    let snapshot = events.until("the snapshot", is_stable).await;
    let status = |status: &str| json!(["status_change", {"status": status, "agent_type": "custom"}]);
    let message = |id: i64, role: &str, text: &str| json!(["message_update", {"id": id, "role": role, "message": text}]);
    assert_eq!(told(&snapshot), [message(0, "agent", "Ready."), status("stable")]);
    single.client.say("", "hello").await;
    let change = told(&events.until("the answer", is_stable).await);
    assert_eq!(
        (&change[0], &change[1], change.last()),
        (&status("running"), &message(1, "user", "hello"), Some(&status("stable")))
    );
    let answers = &change[2..change.len() - 1];
    assert!(answers.iter().all(|event| event[1]["id"] == 2 && event[1]["role"] == "agent"), "{change:?}");
    assert_eq!(answers.last(), Some(&message(2, "agent", "Hi.")));
    let whole = single.client.events("").await.until("the snapshot", is_stable).await;
    let expected = [message(0, "agent", "Ready."), message(1, "user", "hello"), message(2, "agent", "Hi."), status("stable")];
    assert_eq!(told(&whole), expected);
}

#[tokio::test]
async fn the_head_and_the_lines_of_a_stream_are_those_of_the_protocol() {
    let single = SingleBuilder::new(&ECHO).start_stable().await;
    let address = single.url.strip_prefix("http://").expect("http").to_owned();
    for (path, first) in
        [("/events", "event: message_update\ndata: {\"id\":0,"), ("/internal/screen", "event: screen\ndata: {\"screen\":\">\"}")]
    {
        let mut socket = tokio::net::TcpStream::connect(&address).await.expect("it listens");
        socket.write_all(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes()).await.expect("it reads");
        let mut text = String::new();
        while !text.contains(first) {
            let mut piece = [0; 4096];
            let read = tokio::time::timeout(Duration::from_secs(10), socket.read(&mut piece)).await.expect("in time");
            text.push_str(std::str::from_utf8(&piece[..read.expect("it writes")]).expect("text"));
        }
        for line in [
            "HTTP/1.1 200 OK",
            "content-type: text/event-stream",
            "cache-control: no-cache, no-store, must-revalidate",
            "connection: keep-alive",
            "expires: 0",
            "pragma: no-cache",
            "x-accel-buffering: no",
            "x-proxy-buffering: no",
            "vary: Origin",
            "transfer-encoding: chunked",
        ] {
            assert!(text.lines().any(|got| got == line), "{path}: {line} is not in {text}");
        }
    }
}

#[tokio::test]
async fn every_connection_begins_anew_unless_the_client_asks_to_go_on() {
    let single = SingleBuilder::new(&ECHO).start_stable().await;
    let snapshot = single.client.events("").await.until("the snapshot", is_stable).await;
    single.client.say("", "hello").await;
    let last = &snapshot.last().expect("an event").id;
    let anew = open(&single.client, "/events", last).await.until("the end", is_stable).await;
    assert_eq!(anew[0].data["id"], 0, "a client that forgets what it had is told all: {anew:?}");
    let resumed = open(&single.client, "/events?resume=true", last).await.until("the end", is_stable).await;
    let ids: Vec<_> =
        resumed.iter().filter(|event| event.name == "message_update").map(|event| event.data["id"].clone()).collect();
    assert_eq!(ids, [1, 2], "{resumed:?}");
    for unknown in ["", "yesterday", "7", "9223372036854775807"] {
        let events = open(&single.client, "/events?resume=true", unknown).await.until("the end", is_stable).await;
        assert_eq!(events[0].data["id"], 0, "{unknown}: {events:?}");
    }
}

#[tokio::test]
async fn a_message_that_is_larger_than_an_event_may_be_is_told_by_its_end() {
    let large = "read -rp '> ' _; for i in {1..400}; do printf '%0600d\\n' $i; done; read -rp '> ' _";
    let single = SingleBuilder::new(&["bash", "-c", large]).flags(&["-W", "1000"]).start_stable().await;
    let mut events = single.client.events("").await;
    events.until("the snapshot", is_stable).await;
    single.client.say("", "go").await;
    let told = events.until("the end", is_stable).await;
    let whole = single.client.get("/messages").await.ok();
    let whole = whole["messages"][2]["content"].as_str().expect("text").to_owned();
    assert!(whole.len() > 200_000, "{}", whole.len());
    let messages: Vec<_> = told.iter().filter(|event| event.name == "message_update").collect();
    for event in &messages {
        assert!(event.data.to_string().len() + 256 < 128 * 1024, "{}", event.data.to_string().len());
    }
    let last = messages.last().expect("a message").data["message"].as_str().expect("text");
    let (note, end) = last.split_once('\n').expect("a note");
    assert!(note.contains("GET messages has the whole message"), "{note}");
    assert!(whole.ends_with(end) && end.len() > 100_000, "{}", end.len());
    let resumable = open(&single.client, "/events?resume=true", "").await.until("the end", is_stable).await;
    assert_eq!(resumable[2].data["message"], whole.as_str(), "who asks to resume is no old client");
}

#[tokio::test]
async fn streams_end_cleanly_when_the_server_stops() {
    let single = SingleBuilder::new(&ECHO).start_stable().await;
    let mut events = single.client.events("").await;
    events.until("the snapshot", is_stable).await;
    let (end, rest) = tokio::join!(single.stop(rustix::process::Signal::TERM), async {
        let mut rest = Vec::new();
        while let Some(event) = events.next().await {
            rest.push(event);
        }
        rest
    });
    assert_eq!(end.code, Some(0), "{} {rest:?}", end.stderr);
}
