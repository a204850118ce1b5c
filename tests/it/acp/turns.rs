//! What is said.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{create, entries, operator, say, start, tell};
use crate::support::{Event, ServerBuilder, TestDatabase, eventually};

#[tokio::test]
async fn a_user_talks_to_an_agent_and_reads_its_answers() {
    let (_, _server, client) = operator().await;
    let agent = start(&client, "plain", json!({"name": "scripted"})).await;
    let status = client.get(&format!("{agent}/status")).await.ok();
    assert_eq!(status, json!({"status": "stable", "agent_type": "custom", "transport": "acp"}));
    let body = client.get(&agent).await.ok();
    assert_eq!((&body["terminal"], &body["approval_policy"]), (&json!(null), &json!("ask")));
    assert_eq!(client.conversation(&agent).await, []);
    assert_eq!(say(&client, &agent, "say hello").await, "hello");
    assert_eq!(say(&client, &agent, "say hello;say again").await, "helloagain");
    assert_eq!(client.conversation(&agent).await.len(), 4);
    assert!(say(&client, &agent, "where").await.ends_with("/work"));
}

#[tokio::test]
async fn chunks_are_one_message_in_their_order_and_replay_and_updates_are_what_messages_say() {
    let (_, _server, client) = operator().await;
    let agent = start(&client, "plain", json!({})).await;
    let idle = |event: &Event| event.name == "status_change" && event.data["status"] == "stable";
    let mut early = client.events(&agent).await;
    let mut told = vec![early.until("the snapshot", idle).await];
    tell(&client, &agent, "count 2000").await;
    let mut late = client.events(&agent).await;
    told.push(early.until("the end of the turn", idle).await);
    assert!(told[1].len() < 1000, "chunks in quick succession are told of at once");
    let expected: String = (1..=2000).flat_map(|n| [n.to_string(), " ".to_owned()]).collect();
    let messages = client.get(&format!("{agent}/messages")).await.ok()["messages"].clone();
    assert_eq!((&messages[1]["content"], messages.as_array().expect("a list").len()), (&json!(expected), 2));
    for told in [told.concat(), late.until("the end of the turn", idle).await] {
        let updates = told.iter().filter(|event| event.name == "message_update");
        let known: BTreeMap<i64, &Value> =
            updates.map(|event| (event.data["id"].as_i64().expect("an id"), &event.data)).collect();
        let known: Vec<Value> = known
            .values()
            .map(|told| json!({"id": told["id"], "content": told["message"], "role": told["role"], "time": told["time"]}))
            .collect();
        assert_eq!(json!(known), messages);
    }
}

#[tokio::test]
async fn what_is_said_around_other_doings_is_one_message_in_paragraphs() {
    let (_, _server, client) = operator().await;
    let agent = start(&client, "plain", json!({})).await;
    assert_eq!(say(&client, &agent, "say one;tool t;say two;think of it;say three;say four").await, "one\n\ntwo\n\nthreefour");
    assert_eq!(say(&client, &agent, "strange;say known").await, "known");
    assert_eq!(say(&client, &agent, "part a one;part a two;part b three").await, "onetwo\n\nthree");
}

#[tokio::test]
async fn what_an_agent_says_of_its_own_accord_is_a_message_and_stored() {
    let database = TestDatabase::create().await;
    let server = ServerBuilder::new(&database).start().await;
    let client = server.operator().await;
    let agent = start(&client, "plain", json!({})).await;
    assert_eq!(say(&client, &agent, "later more;say now").await, "now");
    eventually("it is stored", || async {
        let stored: i64 = sqlx::query_scalar("SELECT count(*) FROM messages WHERE content = 'more'")
            .fetch_one(&mut database.connect().await)
            .await
            .expect("a count");
        (stored == 1).then_some(())
    })
    .await;
    assert_eq!(client.conversation(&agent).await.pop().expect("a message").1, "more");
    assert_eq!(say(&client, &agent, "say well").await, "well");
}

#[tokio::test]
async fn a_busy_agent_takes_no_message_and_escape_cancels() {
    let (_, _server, client) = operator().await;
    let agent = start(&client, "plain", json!({})).await;
    tell(&client, &agent, "say working;until-cancelled").await;
    let path = format!("{agent}/message");
    assert_eq!(client.post(&path, json!({"type": "user", "content": "say more"})).await.problem(409), "agent_busy");
    let keys = client.post(&path, json!({"type": "raw", "content": "y\r"})).await;
    assert_eq!(keys.problem(422), "validation_failed");
    assert!(keys.text.contains("Escape"), "{}", keys.text);
    for _ in 0..2 {
        client.post(&path, json!({"type": "raw", "content": "\u{1b}"})).await.ok();
    }
    client.stable(&agent).await;
    assert_eq!(client.conversation(&agent).await[1].1, "working");
    assert_eq!(entries(&client, &agent, "turn").await[0]["stop_reason"], "cancelled");
    // With nothing to cancel, the keys do nothing; the agent goes on.
    client.post(&path, json!({"type": "raw", "content": "\u{3}"})).await.ok();
    assert_eq!(say(&client, &agent, "say on").await, "on");
    let screen = client.get(&format!("{agent}/internal/screen")).await;
    assert_eq!(screen.problem(409), "agent_has_no_screen");
}

#[tokio::test]
async fn a_failed_turn_leaves_what_was_said_and_says_that_it_failed() {
    let (_, _server, client) = operator().await;
    let agent = start(&client, "plain", json!({})).await;
    assert_eq!(say(&client, &agent, "say half;fail").await, "half\n\nThe agent failed: the model is away");
    assert_eq!(say(&client, &agent, "fail").await, "The agent failed: the model is away");
    assert_eq!(say(&client, &agent, "say well").await, "well");
    let turns = entries(&client, &agent, "turn").await;
    assert_eq!((&turns[0]["state"], &turns[0]["error"]), (&json!("failed"), &json!("the model is away")));
    assert_eq!((&turns[2]["state"], &turns[2]["message_id"]), (&json!("done"), &json!(4)));
}

#[tokio::test]
async fn a_first_prompt_is_sent_and_a_restarted_agent_goes_on() {
    let (_, _server, client) = operator().await;
    let agent = start(&client, "load", json!({"initial_prompt": "say first"})).await;
    assert_eq!(client.conversation(&agent).await[1].1, "first");
    client.post_nothing(&format!("{agent}/restart")).await.ok();
    client.stable(&agent).await;
    assert_eq!(say(&client, &agent, "say second").await, "second");
    let texts: Vec<String> = client.conversation(&agent).await.into_iter().map(|(_, text)| text).collect();
    assert_eq!(texts, ["say first", "first", "say second", "second"], "what the agent tells again of a loaded session is known");
    let sessions = entries(&client, &agent, "session").await;
    let begun: Vec<_> = sessions.iter().filter(|data| data["session_id"].is_string()).collect();
    assert_eq!((&begun[0]["event"], &begun[1]["event"]), (&json!("new"), &json!("loaded")));
    assert_eq!(begun[0]["session_id"], begun[1]["session_id"]);
}

#[tokio::test]
async fn an_agent_that_cannot_load_sessions_begins_a_new_one_and_says_so() {
    let (_, _server, client) = operator().await;
    let agent = start(&client, "plain", json!({})).await;
    client.delete(&agent).await.ok();
    client.post_nothing(&format!("{agent}/restart")).await.ok();
    client.stable(&agent).await;
    assert_eq!(say(&client, &agent, "say well").await, "well");
    let sessions = entries(&client, &agent, "session").await;
    assert!(sessions.iter().any(|data| data["not_loaded"] == "the agent cannot load sessions"), "{sessions:?}");
}

#[tokio::test]
async fn what_belongs_to_other_transports_is_refused() {
    let (_, _server, client) = operator().await;
    for (more, location) in [
        (json!({"terminal": {"width": 80, "height": 80}}), "body.terminal"),
        (json!({"url": "https://agent.example"}), "body.url"),
        (json!({"approval_policy": "ask", "transport": "pty"}), "body.approval_policy"),
        (json!({"approval_policy": "perhaps"}), "body.approval_policy"),
        (json!({"type": "aider", "command": null}), "body.command"),
    ] {
        let answer = create(&client, "plain", more).await;
        assert_eq!(answer.problem(422), "validation_failed", "{location}");
        assert_eq!(answer.json()["errors"][0]["location"], location, "{}", answer.text);
    }
}
