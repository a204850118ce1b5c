//! Agents that are asked about at another server than their own.

use futures_util::future::join_all;
use serde_json::json;

use super::approvals::{last, path, pending};
use super::{entries, start, tell};
use crate::support::{ServerBuilder, TestDatabase, TestRedis, eventually};

#[tokio::test]
async fn what_an_agent_asks_for_is_answered_at_any_server_and_the_first_answer_wins() {
    let (database, redis) = (TestDatabase::create().await, TestRedis::start().await);
    let builder = ServerBuilder::new(&database).redis(&redis).env("TOKEN_ENCRYPTION_KEY", &"7".repeat(64));
    let (a, b) = (builder.start().await, builder.sibling().start().await);
    let at_a = a.operator().await;
    let at_b = at_a.at(&b);
    let agent = start(&at_a, "plain", json!({})).await;
    tell(&at_a, &agent, "permission p1").await;
    let approval = pending(&at_b, &agent).await;
    assert_eq!(approval["tool_call"]["title"], "run p1");
    // Problems pass through as they are.
    let unknown = at_b.post(&path(&agent, &approval), json!({"option": "maybe"})).await;
    assert_eq!(unknown.problem(422), "validation_failed");
    let answered = at_b.post(&path(&agent, &approval), json!({"option": "ever"})).await.ok();
    assert_eq!((&answered["state"], &answered["option"]), (&json!("answered"), &json!("ever")));
    assert_eq!(last(&at_b, &agent).await, "ever", "the agent has the answer");
    assert_eq!(at_a.post(&path(&agent, &approval), json!({"option": "no"})).await.problem(409), "approval_settled");

    // Both servers are asked at once, each for another answer.
    tell(&at_b, &agent, "permission p2").await;
    let approval = pending(&at_a, &agent).await;
    let path = path(&agent, &approval);
    let answers = (0..8).map(|n| {
        let (client, option) = if n % 2 == 0 { (&at_a, "yes") } else { (&at_b, "no") };
        client.post(&path, json!({ "option": option }))
    });
    let (won, lost): (Vec<_>, Vec<_>) = join_all(answers).await.into_iter().partition(|answer| answer.status == 200);
    assert_eq!((won.len(), lost.len()), (1, 7));
    for answer in lost {
        assert_eq!(answer.problem(409), "approval_settled");
    }
    let won = won[0].json();
    let option = won["option"].as_str().expect("an option");
    for client in [&at_a, &at_b] {
        assert_eq!(last(client, &agent).await, option, "the agent has the answer that won");
        let listed = client.get(&format!("{agent}/approvals?limit=1")).await.ok();
        assert_eq!(listed["items"], json!([won]));
        let told = entries(client, &agent, "approval").await;
        assert_eq!((&told[1]["state"], &told[1]["option"]), (&json!("answered"), &json!(option)));
    }
}

#[tokio::test]
async fn approval_of_a_frozen_server_is_pending_again_once_it_is_back() {
    let (database, redis) = (TestDatabase::create().await, TestRedis::start().await);
    let builder = ServerBuilder::new(&database).redis(&redis).env("TOKEN_ENCRYPTION_KEY", &"7".repeat(64));
    let builder = builder.env("AGENTAPI_HEARTBEAT_INTERVAL", "500ms");
    let (a, b) = (builder.start().await, builder.sibling().start().await);
    let at_a = a.operator().await;
    let at_b = at_a.at(&b);
    let agent = start(&at_b, "plain", json!({})).await;
    tell(&at_b, &agent, "permission p1").await;
    let approval = pending(&at_a, &agent).await;
    b.hang().await;
    at_a.in_state(&agent, "lost").await;
    let state = || async { at_a.get(&format!("{agent}/approvals")).await.ok()["items"][0]["state"].clone() };
    assert_eq!(state().await, "expired");
    let answer = json!({"option": "ever"});
    assert_eq!(at_a.post(&path(&agent, &approval), answer.clone()).await.problem(409), "approval_settled");
    b.resume();
    at_a.in_state(&agent, "running").await;
    assert_eq!(state().await, "pending");
    let answered = eventually("it is answered", || async {
        let answer = at_a.post(&path(&agent, &approval), answer.clone()).await;
        (answer.status == 200).then(|| answer.json())
    })
    .await;
    assert_eq!((&answered["state"], &answered["option"]), (&json!("answered"), &json!("ever")));
    assert_eq!(last(&at_a, &agent).await, "ever", "the agent has the answer");
}
