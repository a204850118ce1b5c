//! Programs that do not keep to the protocol, or end.

use serde_json::{Value, json};

use super::{create, entries, operator, say, start, tell};

#[tokio::test]
async fn a_program_that_cannot_be_spoken_to_is_not_started_and_it_is_said_why() {
    let (builder, _server, client) = operator().await;
    for (mode, said) in [
        ("auth", "asks to be signed in; it offers: Log in (login)"),
        ("old", "unsupported ACP protocol version 0"),
        ("noise", "no JSON-RPC messages"),
        ("flood", "a line that is too long"),
        ("dies", "its last words were: no licence found"),
    ] {
        let answer = create(&client, mode, json!({})).await;
        assert_eq!(answer.problem(422), "validation_failed", "{mode}");
        assert!(answer.text.contains(said), "{mode}: {}", answer.text);
    }
    let (silent, deaf) = tokio::join!(create(&client, "silent", json!({})), create(&client, "deaf", json!({})));
    for (answer, said) in [(silent, "did not answer initialize in time"), (deaf, "did not answer session/new in time")] {
        assert_eq!(answer.problem(504), "agent_unresponsive");
        assert!(answer.text.contains(said), "{}", answer.text);
    }
    let none = client.post("/v1/agents", json!({"type": "custom", "transport": "acp", "command": ["no-such-program"]})).await;
    assert_eq!(none.problem(422), "validation_failed");
    assert_eq!(client.get("/v1/agents").await.ok()["items"], json!([]), "nothing is left of them");
    let workspaces = std::fs::read_dir(builder.data_dir().join("workspaces")).expect("a folder");
    let left: usize =
        workspaces.map(|tenant| std::fs::read_dir(tenant.expect("a folder").path()).expect("a folder").count()).sum();
    assert_eq!(left, 0);
}

#[tokio::test]
async fn an_agent_that_crashes_in_a_turn_leaves_what_it_said() {
    let (_, _server, client) = operator().await;
    let agent = start(&client, "plain", json!({})).await;
    let mut events = client.events(&agent).await;
    tell(&client, &agent, "say last words;crash").await;
    let ended = client.in_state(&agent, "exited").await;
    assert_eq!(ended["exit_code"], Value::Null);
    while events.next().await.is_some() {}
    assert_eq!(client.conversation(&agent).await[1].1, "last words");
    assert_eq!(entries(&client, &agent, "turn").await[0]["error"], "the agent ended");
    assert_eq!(
        client.post(&format!("{agent}/message"), json!({"type": "user", "content": "x"})).await.problem(409),
        "agent_not_running"
    );
    client.post_nothing(&format!("{agent}/restart")).await.ok();
    client.stable(&agent).await;
    assert_eq!(say(&client, &agent, "say back").await, "back");
    tell(&client, &agent, "exit 7").await;
    assert_eq!(client.in_state(&agent, "exited").await["exit_code"], 7);
}

#[tokio::test]
async fn some_noise_is_passed_over_and_too_much_ends_the_agent() {
    let (_, _server, client) = operator().await;
    let agent = start(&client, "plain", json!({})).await;
    assert_eq!(say(&client, &agent, "garbage 100;say still here").await, "still here");
    tell(&client, &agent, "garbage 2000;until-cancelled").await;
    client.in_state(&agent, "exited").await;
    let agent = start(&client, "plain", json!({})).await;
    tell(&client, &agent, "long 9000000;until-cancelled").await;
    client.in_state(&agent, "exited").await;
}

#[tokio::test]
async fn a_long_answer_is_cut() {
    let (_, _server, client) = operator().await;
    let agent = start(&client, "plain", json!({})).await;
    let answer = say(&client, &agent, "big 20;say more").await;
    assert_eq!((answer.len(), answer.chars().last()), (1024 * 1024 + "…".len(), Some('…')));
    assert_eq!(say(&client, &agent, "say well").await, "well");
}
