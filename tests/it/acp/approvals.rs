//! What an agent asks leave for.

use serde_json::{Value, json};

use super::{entries, operator, say, start, tell};
use crate::support::{Client, PASSWORD, ServerBuilder, TestDatabase, eventually};

/// What the agent asks leave for, once it does.
pub(super) async fn pending(client: &Client, agent: &str) -> Value {
    eventually("a pending approval", || async {
        let page = client.get(&format!("{agent}/approvals?state=pending")).await.ok();
        page["items"].as_array().expect("items").first().cloned()
    })
    .await
}

pub(super) fn path(agent: &str, approval: &Value) -> String {
    format!("{agent}/approvals/{}", approval["id"].as_str().expect("an id"))
}

pub(super) async fn last(client: &Client, agent: &str) -> String {
    client.stable(agent).await;
    client.conversation(agent).await.pop().expect("a message").1
}

#[tokio::test]
async fn what_an_agent_asks_for_waits_for_an_answer_and_the_first_one_wins() {
    let (_, _server, client) = operator().await;
    let agent = start(&client, "plain", json!({})).await;
    tell(&client, &agent, "say may I;permission p1").await;
    let approval = pending(&client, &agent).await;
    assert_eq!((&approval["tool_call"]["title"], &approval["option"]), (&json!("run p1"), &json!(null)));
    let options = json!([
        {"id": "yes", "name": "Allow", "kind": "allow_once"},
        {"id": "ever", "name": "Always", "kind": "allow_always"},
        {"id": "no", "name": "Reject", "kind": "reject_once"},
    ]);
    assert_eq!(approval["options"], options);
    let path = path(&agent, &approval);
    for option in ["maybe", ""] {
        let answer = client.post(&path, json!({ "option": option })).await;
        assert_eq!(answer.problem(422), "validation_failed");
        assert_eq!(answer.json()["errors"][0]["location"], "body.option");
    }
    let answers = futures_util::future::join_all((0..8).map(|n| {
        let option = if n % 2 == 0 { "yes" } else { "no" };
        client.post(&path, json!({ "option": option }))
    }));
    let (won, lost): (Vec<_>, Vec<_>) = answers.await.into_iter().partition(|answer| answer.status == 200);
    assert_eq!((won.len(), lost.len()), (1, 7));
    for answer in lost {
        assert_eq!(answer.problem(409), "approval_settled");
    }
    let settled = won[0].json();
    assert_eq!((&settled["state"], settled["answered_by"].is_string()), (&json!("answered"), true));
    let option = settled["option"].as_str().expect("an option");
    assert_eq!(last(&client, &agent).await, format!("may I\n\n{option}"), "the agent has the answer that won");
    let listed = client.get(&format!("{agent}/approvals")).await.ok();
    assert_eq!(listed, json!({"items": [settled], "next": null}));
    let told = entries(&client, &agent, "approval").await;
    assert_eq!((&told[0]["state"], &told[0]["option"]), (&json!("answered"), &json!(option)));
    assert_eq!(client.post(&format!("{agent}/approvals/nonsense"), json!({"option": "yes"})).await.problem(404), "not_found");
}

#[tokio::test]
async fn approvals_are_pages() {
    let (_, _server, client) = operator().await;
    let agent = start(&client, "plain", json!({})).await;
    for n in 0..3 {
        tell(&client, &agent, &format!("permission p{n}")).await;
        let approval = pending(&client, &agent).await;
        client.post(&path(&agent, &approval), json!({"option": "no"})).await.ok();
        assert_eq!(last(&client, &agent).await, "no");
    }
    let first = client.get(&format!("{agent}/approvals?limit=2&state=answered")).await.ok();
    let titles = |page: &Value| {
        let items = page["items"].as_array().expect("items").iter();
        items.map(|item| item["tool_call"]["title"].as_str().expect("a title").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(titles(&first), ["run p2", "run p1"]);
    let after = first["next"].as_str().expect("another page");
    let second = client.get(&format!("{agent}/approvals?limit=2&after={after}")).await.ok();
    assert_eq!((titles(&second), &second["next"]), (vec!["run p0".to_owned()], &json!(null)));
    assert_eq!(client.get(&format!("{agent}/approvals?state=perhaps")).await.problem(422), "validation_failed");
}

#[tokio::test]
async fn an_agent_may_be_created_to_be_allowed_or_denied_everything() {
    let (_, _server, client) = operator().await;
    for (policy, chosen, state) in [("allow", "yes", "allowed"), ("deny", "no", "denied")] {
        let agent = start(&client, "plain", json!({"approval_policy": policy})).await;
        assert_eq!(client.get(&agent).await.ok()["approval_policy"], policy);
        assert_eq!(say(&client, &agent, "permission p").await, chosen);
        assert_eq!(client.get(&format!("{agent}/approvals")).await.ok()["items"], json!([]), "nobody is asked");
        assert_eq!(entries(&client, &agent, "approval").await[0]["state"], state);
        client.post_nothing(&format!("{agent}/restart")).await.ok();
        client.stable(&agent).await;
        assert_eq!(say(&client, &agent, "permission p").await, chosen, "after a restart too");
    }
}

#[tokio::test]
async fn what_nobody_answers_is_denied() {
    let builder = ServerBuilder::new(&TestDatabase::create().await).env("AGENT_APPROVAL_TIMEOUT", "1s");
    let server = builder.start().await;
    let client = server.operator().await;
    let agent = start(&client, "plain", json!({})).await;
    assert_eq!(say(&client, &agent, "permission p").await, "no");
    let listed = client.get(&format!("{agent}/approvals")).await.ok();
    let approval = &listed["items"][0];
    assert_eq!((&approval["state"], approval["settled_at"].is_string()), (&json!("expired"), true));
    let late = client.post(&path(&agent, approval), json!({"option": "yes"})).await;
    assert_eq!(late.problem(409), "approval_settled");
    assert_eq!(entries(&client, &agent, "approval").await[0]["state"], "expired");
}

#[tokio::test]
async fn cancelling_settles_what_is_asked_for() {
    let (_, _server, client) = operator().await;
    let agent = start(&client, "plain", json!({})).await;
    tell(&client, &agent, "permission p").await;
    let approval = pending(&client, &agent).await;
    client.post(&format!("{agent}/message"), json!({"type": "raw", "content": "\u{1b}"})).await.ok();
    assert_eq!(last(&client, &agent).await, "cancelled");
    assert_eq!(client.post(&path(&agent, &approval), json!({"option": "yes"})).await.problem(409), "approval_settled");
    tell(&client, &agent, "until-cancelled;permission p;say end").await;
    client.post(&format!("{agent}/message"), json!({"type": "raw", "content": "\u{1b}"})).await.ok();
    assert_eq!(last(&client, &agent).await, "cancelledend", "what it asks for before it knows is not done");
    eventually("it is written", || async {
        let listed = client.get(&format!("{agent}/approvals")).await.ok();
        (listed["items"][0]["state"] == "cancelled").then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_is_asked_for_outlives_whoever_watches_and_their_session_but_not_the_agent() {
    let (_, server, client) = operator().await;
    let agent = start(&client, "plain", json!({})).await;
    let watching = client.events(&agent).await;
    tell(&client, &agent, "permission p1;permission p2").await;
    let approval = pending(&client, &agent).await;
    drop(watching);
    client.post_nothing("/v1/auth/logout").await.ok();
    let client = server.anonymous().log_in("default", "admin@localhost", PASSWORD).await;
    client.post(&path(&agent, &approval), json!({"option": "ever"})).await.ok();
    let second = eventually("the next one", || async {
        let next = pending(&client, &agent).await;
        (next["id"] != approval["id"]).then_some(next)
    })
    .await;
    client.delete(&agent).await.ok();
    let listed = client.get(&format!("{agent}/approvals")).await.ok();
    assert_ne!(listed["items"][0]["state"], "pending");
    assert_eq!(client.post(&path(&agent, &second), json!({"option": "yes"})).await.problem(409), "approval_settled");
}

#[tokio::test]
async fn an_agent_of_a_dead_server_waits_for_nothing() {
    let (builder, server, client) = operator().await;
    let agent = start(&client, "plain", json!({})).await;
    tell(&client, &agent, "permission p").await;
    let approval = pending(&client, &agent).await;
    server.kill().await;
    let server = builder.start().await;
    let client = server.operator().await;
    client.in_state(&agent, "lost").await;
    let listed = client.get(&format!("{agent}/approvals")).await.ok();
    assert_eq!(listed["items"][0]["state"], "expired");
    assert_eq!(client.post(&path(&agent, &approval), json!({"option": "yes"})).await.problem(409), "approval_settled");
    client.post_nothing(&format!("{agent}/restart")).await.ok();
    client.stable(&agent).await;
    let again = client.post(&path(&agent, &approval), json!({"option": "yes"})).await;
    assert_eq!(again.problem(409), "approval_settled", "another life did not ask for it");
}
