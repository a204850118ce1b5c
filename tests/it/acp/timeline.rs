//! What an agent does beside what it says.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::approvals::{last, path, pending};
use super::{entries, operator, say, start, tell, timeline};
use crate::support::{Client, Event, EventStream};

async fn watch(client: &Client, agent: &str, last: Option<&str>) -> EventStream {
    let request = client.request(Method::GET, &format!("{agent}/timeline")).header("accept", "text/event-stream");
    EventStream::open(match last {
        Some(id) => request.header("last-event-id", id),
        None => request,
    })
    .await
}

fn is_done(event: &Event, message: i64) -> bool {
    event.data["kind"] == "turn" && event.data["data"]["message_id"] == message && event.data["data"]["state"] == "done"
}

#[tokio::test]
async fn what_an_agent_does_is_kept_in_order() {
    let (_, _server, client) = operator().await;
    let agent = start(&client, "plain", json!({})).await;
    say(&client, &agent, "think of;think  it;tool t1;done t1;plan dig;plan dig deeper;usage 7;say there").await;
    let kept = timeline(&client, &agent).await;
    let kinds: Vec<&str> = kept.iter().map(|entry| entry["kind"].as_str().expect("a kind")).collect();
    assert_eq!(kinds, ["session", "session", "turn", "thought", "tool_call", "plan", "usage"]);
    assert_eq!(kept.iter().map(|entry| entry["id"].as_i64().expect("an id")).collect::<Vec<_>>(), (0..7).collect::<Vec<_>>());
    let data = |n: usize| &kept[n]["data"];
    let session =
        |event: &str| kept[..2].iter().map(|entry| &entry["data"]).find(|data| data["event"] == event).expect("an entry");
    assert_eq!(session("new")["agent"]["name"], "scripted");
    assert_eq!(session("commands")["availableCommands"][0]["name"], "help");
    let usage = json!({"totalTokens": 3, "inputTokens": 1, "outputTokens": 2});
    assert_eq!(*data(2), json!({"message_id": 0, "state": "done", "stop_reason": "end_turn", "usage": usage}));
    assert_eq!(data(3)["text"], "of it");
    assert_eq!((&data(4)["title"], &data(4)["status"]), (&json!("tool t1"), &json!("completed")));
    assert_eq!((&data(5)["entries"][0]["content"], data(5)["entries"].as_array().map(Vec::len)), (&json!("dig deeper"), Some(1)));
    assert_eq!((&data(6)["used"], &data(6)["size"]), (&json!(7), &json!(1000)));
    say(&client, &agent, "tool t1").await;
    assert_eq!(entries(&client, &agent, "tool_call").await[1]["status"], "pending", "another turn's is another");
    let page = client.get(&format!("{agent}/timeline?limit=3&after=1")).await.ok();
    assert_eq!((page["items"].as_array().expect("items").len(), &page["next"]), (3, &json!(4)));
    client.delete(&agent).await.ok();
    assert_eq!(timeline(&client, &agent).await[..7], kept, "also once it has ended");
}

#[tokio::test]
async fn a_timeline_is_watched_and_taken_up_again() {
    let (_, _server, client) = operator().await;
    let agent = start(&client, "plain", json!({})).await;
    let mut watching = watch(&client, &agent, None).await;
    tell(&client, &agent, "tool t1;until-cancelled").await;
    let begun = watching.until("the tool call", |event| event.data["kind"] == "tool_call").await;
    let seen = begun.last().expect("an event").id.clone();
    client.post(&format!("{agent}/message"), json!({"type": "raw", "content": "\u{1b}"})).await.ok();
    let done = watching.until("the end of the turn", |event| is_done(event, 0)).await;
    assert_eq!(done.last().expect("an event").data["data"]["stop_reason"], "cancelled");
    say(&client, &agent, "plan rest").await;
    let mut again = watch(&client, &agent, Some(&seen)).await;
    let more = again.until("the end of the next turn", |event| is_done(event, 1)).await;
    assert!(more.iter().all(|event| event.name == "timeline_entry" && event.id > seen), "{more:?}");
    let kinds: Vec<&Value> = more.iter().map(|event| &event.data["kind"]).collect();
    assert_eq!(kinds[0], "turn", "the first turn's end, which was missed");
    assert!(!kinds.contains(&&json!("tool_call")), "what was seen and has not changed is not told again");
    // Replay and updates come to what is kept.
    let mut known = std::collections::BTreeMap::new();
    for event in begun.iter().chain(&more) {
        known.insert(event.data["id"].as_i64(), event.data.clone());
    }
    assert_eq!(known.into_values().collect::<Vec<_>>(), timeline(&client, &agent).await);
    client.delete(&agent).await.ok();
    let mut last = more.last().expect("an event").id.clone();
    while let Some(event) = again.next().await {
        last = event.id;
    }
    let over = client.request(Method::GET, &format!("{agent}/timeline?stream=true")).header("last-event-id", &last);
    assert_eq!(client.send(over).await.status, StatusCode::NO_CONTENT);
    let mut from_the_beginning = watch(&client, &agent, None).await;
    let mut told = 0;
    while from_the_beginning.next().await.is_some() {
        told += 1;
    }
    assert_eq!(told, timeline(&client, &agent).await.len());
}

#[tokio::test]
async fn an_agent_in_a_terminal_has_an_empty_timeline() {
    let (_, _server, client) = operator().await;
    let agent = client.start_echo_agent().await;
    assert_eq!(timeline(&client, &agent).await, Vec::<Value>::new());
    assert_eq!(client.get(&format!("{agent}/timeline?stream=true")).await.status, StatusCode::NO_CONTENT);
    assert_eq!(client.get(&format!("{agent}/approvals")).await.ok()["items"], json!([]));
    assert_eq!(client.get(&format!("{agent}/timeline?limit=0")).await.problem(422), "validation_failed");
}

#[tokio::test]
async fn titles_of_an_agent_lose_their_control_characters() {
    let (_, _server, client) = operator().await;
    let agent = start(&client, "plain", json!({})).await;
    tell(&client, &agent, "controls").await;
    let pending = pending(&client, &agent).await;
    assert_eq!(pending["tool_call"]["title"], "run x y", "{pending}");
    let calls = entries(&client, &agent, "tool_call").await;
    assert_eq!(calls[0]["title"], "tool a [2Jb c", "{calls:?}");
    client.post(&path(&agent, &pending), json!({"option": "no"})).await.ok();
    assert!(last(&client, &agent).await.contains("be[31mep"));
}
