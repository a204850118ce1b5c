//! A server of ours as the remote one: with tokens, event ids and heartbeats.

use super::*;
use crate::support::{ECHO, Network, Proxy, SingleBuilder};

/// A server with an agent that echoes, and who may talk to it. Returns the agent's URL too.
async fn remote() -> (Server, Client, String) {
    let server = ServerBuilder::new(&TestDatabase::create().await).start().await;
    let client = server.operator().await;
    let agent = client.start_echo_agent().await;
    let url = format!("{}{agent}", server.url);
    (server, client, url)
}

async fn attach_with(client: &Client, url: &str, token: &str) -> Answer {
    client.post("/v1/agents", json!({"type": "custom", "transport": "remote", "url": url, "token": token})).await
}

#[tokio::test]
async fn an_agent_of_another_server_of_ours_is_talked_to_and_its_token_stays_secret() {
    let (_remote, owner, url) = remote().await;
    let token = owner.token.clone().expect("a token");
    let database = TestDatabase::create().await;
    let builder = near(&database).env("LOG_LEVEL", "trace").env("LOG_FORMAT", "json");
    let server = builder.start().await;
    let client = server.operator().await;
    let refused = attach_with(&client, &url, "wrong").await;
    assert_eq!(refused.problem(502), "upstream_failed");
    assert!(refused.text.contains("401"), "{}", refused.text);
    let answer = attach_with(&client, &url, &token).await;
    let agent = answer.header("location").to_owned();
    let mut shown = vec![answer.text.clone()];
    answer.ok();
    client.say(&agent, "hello").await;
    let whole = said(&[("agent", ""), ("user", "hello"), ("agent", "you said hello")]);
    let talk: Vec<_> = client
        .conversation(&agent)
        .await
        .into_iter()
        .map(|(role, text)| (role, text.replace('>', "").trim().to_owned()))
        .collect();
    assert_eq!(talk, whole);
    // It is one conversation, from both sides.
    let path = url.split_at(url.find("/v1").expect("a path")).1;
    assert_eq!(owner.conversation(path).await, client.conversation(&agent).await);
    for path in
        [agent.clone(), "/v1/agents".to_owned(), format!("{agent}/status"), format!("{agent}/messages"), "/metrics".to_owned()]
    {
        shown.push(client.get(&path).await.text);
    }
    shown.push(client.post_nothing(&format!("{agent}/restart")).await.text);
    reached(&client, &agent).await;
    shown.push(client.delete(&agent).await.text);
    assert_eq!(owner.get(path).await.ok()["state"], "running", "it is let go, not stopped");
    assert_eq!(server.terminate().await, Some(0));
    let log = builder.logged();
    assert!(log.contains("\"service\":\"agent:"), "calls are logged");
    let rows: Vec<String> = {
        use sqlx::Row;
        let mut connection = database.connect().await;
        let rows = sqlx::query("SELECT row_to_json(agents)::text || encode(sealed_env, 'escape') FROM agents")
            .fetch_all(&mut connection)
            .await;
        rows.expect("rows").iter().map(|row| row.get(0)).collect()
    };
    assert_eq!(rows.len(), 1, "the refused one left nothing");
    for part in [token.as_str(), &token[..60], &token[token.len() - 60..]] {
        assert!(!log.contains(part), "the token is logged");
        assert!(shown.iter().chain(&rows).all(|text| !text.contains(part)), "the token is shown");
    }
}

#[tokio::test]
async fn a_stream_with_ids_is_resumed_and_an_agent_that_ended_is_told_so() {
    let (remote, owner, url) = remote().await;
    let (_server, client) = start().await;
    let answer = attach_with(&client, &url, owner.token.as_deref().expect("a token")).await;
    let agent = answer.header("location").to_owned();
    answer.ok();
    client.say(&agent, "one").await;
    let path = url.split_at(url.find("/v1").expect("a path")).1.to_owned();
    let mut events = client.events(&agent).await;
    let mut all = events.until("the snapshot", is_stable).await;
    owner.delete(&path).await.ok();
    let away = missed(&client, &agent).await;
    assert!(["agent_unreachable", "circuit_open"].contains(&away.problem(503).as_str()), "{}", away.text);
    owner.post_nothing(&format!("{path}/restart")).await.ok();
    reached(&client, &agent).await;
    client.stable(&agent).await;
    client.say(&agent, "two").await;
    let is_answer = |event: &Event| event.data["message"].as_str().is_some_and(|text| text.contains("you said two"));
    all.extend(events.until("the second life", is_answer).await);
    told(&all);
    assert_eq!(owner.conversation(&path).await.len(), client.conversation(&agent).await.len());
    drop(remote);
}

/// Attaches through a network that then fails for a moment, in which nothing happens.
async fn reached_again_after_a_cut(url: &str, token: Option<&str>) {
    let (scheme, rest) = url.split_once("://").expect("a URL");
    let (address, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let network = Proxy::before(address);
    let (_server, client) = start().await;
    let near = format!("{scheme}://{}{path}", network.address());
    let body = json!({"type": "custom", "transport": "remote", "url": near, "token": token});
    let answer = client.post("/v1/agents", body).await;
    let agent = answer.header("location").to_owned();
    answer.ok();
    client.say(&agent, "one").await;
    network.set(Network::Cut);
    missed(&client, &agent).await;
    network.set(Network::Well);
    reached(&client, &agent).await;
    client.say(&agent, "two").await;
    let said: Vec<String> = client.conversation(&agent).await.into_iter().map(|(_, text)| text).collect();
    assert_eq!(said.len(), 5, "{said:?}");
}

#[tokio::test]
async fn one_of_many_is_reached_again_after_a_cut_in_which_nothing_happened() {
    let (_remote, owner, url) = remote().await;
    // By a key, which does not end with a session.
    let key = owner.post("/v1/api-keys", json!({"name": "a server"})).await.ok()["key"].clone();
    reached_again_after_a_cut(&url, key.as_str()).await;
}

#[tokio::test]
async fn a_single_agent_is_reached_again_after_a_cut_in_which_nothing_happened() {
    let single = SingleBuilder::new(&ECHO).start_stable().await;
    reached_again_after_a_cut(&single.url, None).await;
}
