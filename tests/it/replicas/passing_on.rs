//! Requests about an agent of another server.

use reqwest::{Method, multipart};
use serde_json::json;

use super::{Fleet, is_stable};
use crate::support::{EventStream, Server, operators_login};

/// How often a server found in its memory where an agent lives (`near`), or where it had lived (`stale`).
async fn remembered(server: &Server, outcome: &str) -> u64 {
    let metrics = server.anonymous().get("/metrics").await.text;
    let name = format!(r#"agentapi_cache_requests_total{{kind="owner",outcome="{outcome}"}} "#);
    metrics.lines().find_map(|line| line.strip_prefix(&name)?.parse().ok()).unwrap_or(0)
}

#[tokio::test]
async fn log_in_at_one_create_at_another_talk_through_a_third() {
    let (fleet, [a, b, c]) = Fleet::started().await;
    let client = a.operator().await;
    let agent = client.at(&b).start_echo_agent().await;
    let client = client.at(&c);
    let status = client.get(&format!("{agent}/status")).await;
    // Limits are taken once, where the request came in.
    assert!(!status.header("x-ratelimit-limit").is_empty());
    assert_eq!(status.ok(), json!({"status": "stable", "asks": false, "agent_type": "custom", "transport": "pty"}));
    let mut events = client.events(&agent).await;
    events.until("the snapshot", is_stable).await;
    client.post(&format!("{agent}/message"), json!({"type": "user", "content": "hello"})).await.ok();
    let told = events.until("the answer", is_stable).await;
    assert_eq!(told[told.len() - 2].data["message"].as_str().map(str::trim), Some("you said hello"));
    assert_eq!(client.conversation(&agent).await.len(), 3);
    // Problems pass through as they are, under one request id.
    let empty = client.post(&format!("{agent}/message"), json!({"type": "user", "content": " "})).await;
    assert_eq!(empty.problem(422), "validation_failed");
    let form = multipart::Form::new().part("file", multipart::Part::bytes(vec![7; 300_000]).file_name("notes.bin"));
    let uploaded = client.request(Method::POST, &format!("{agent}/upload")).multipart(form);
    let path = client.send(uploaded).await.ok()["filePath"].as_str().expect("a path").to_owned();
    assert_eq!(std::fs::read(path).expect("it is there").len(), 300_000);
    let mut screens = EventStream::open(client.request(Method::GET, &format!("{agent}/internal/screen"))).await;
    assert_eq!(screens.next().await.expect("a screen").name, "screen");
    assert_eq!(client.post_nothing(&format!("{agent}/restart")).await.ok()["state"], "running");
    client.stable(&agent).await;
    assert_eq!(client.delete(&agent).await.ok()["state"], "stopped");
    assert_eq!(client.get(&format!("{agent}/status")).await.problem(409), "agent_not_running");
    // It begins another life where it is asked for.
    assert_eq!(client.post_nothing(&format!("{agent}/restart")).await.ok()["state"], "running");
    client.stable(&agent).await;
    let log = fleet.builders[2].logged();
    assert!(log.contains("agent started"), "it lives at the third now");
}

#[tokio::test]
async fn no_tenant_reaches_anothers_agent_through_another_server() {
    let (fleet, [a, b, _c]) = Fleet::started().await;
    for args in [&["tenant", "create", "rival"][..], &["user", "create", "rival", "eve@rival.example", "--role", "admin"]] {
        fleet.builders[0].done(args, "a password of eve\n").await;
    }
    let ours = a.operator().await;
    let agent = ours.start_echo_agent().await;
    let eve = b.anonymous().log_in("rival", "eve@rival.example", "a password of eve").await;
    // The second server knows where it lives, and goes by that for its own tenant.
    for _ in 0..20 {
        ours.at(&b).get(&format!("{agent}/status")).await.ok();
    }
    assert!(remembered(&b, "near").await > 0);
    for path in ["", "/status", "/messages", "/events", "/internal/screen"] {
        assert_eq!(eve.get(&format!("{agent}{path}")).await.problem(404), "not_found", "{path}");
    }
    let message = json!({"type": "raw", "content": "x"});
    assert_eq!(eve.post(&format!("{agent}/message"), message).await.problem(404), "not_found");
    assert_eq!(eve.delete(&agent).await.problem(404), "not_found");
}

#[tokio::test]
async fn servers_reach_each_other_by_names_that_are_not_for_browsers() {
    let fleet = Fleet::make().await.env("AGENTAPI_ALLOWED_HOSTS", "agents.example");
    let [a, b, _c] = fleet.start().await;
    let named = |request: reqwest::RequestBuilder| request.header("host", "agents.example");
    let nobody = a.anonymous();
    let login = nobody.send(named(nobody.request(Method::POST, "/v1/auth/login").json(&operators_login()))).await.ok();
    let client = nobody.with_token(login["token"].as_str().expect("a token"));
    let new = json!({"type": "custom", "command": ["cat"]});
    let agent = client.send(named(client.request(Method::POST, "/v1/agents").json(&new))).await.ok();
    let path = format!("/v1/agents/{}/status", agent["id"].as_str().expect("an id"));
    let client = client.at(&b);
    assert_eq!(client.send(named(client.request(Method::GET, &path))).await.ok()["transport"], "pty");
    assert_eq!(client.get(&path).await.problem(400), "invalid_host", "a browser's host is checked where it comes in");
}

#[tokio::test]
async fn request_with_an_invented_grant_is_refused() {
    let (_fleet, [a, b, _c]) = Fleet::started().await;
    let client = a.operator().await;
    let agent = client.start_echo_agent().await;
    for grant in ["", "v2", "v1.00000000.AAAA.AAAA", "v2.AAAA.AAAA", "true"] {
        // With and without a token of one's own: a grant is valid, or the request is refused.
        for client in [a.anonymous(), client.clone(), client.at(&b)] {
            let request = client.request(Method::GET, &format!("{agent}/status")).header("x-agentapi-forwarded", grant);
            assert_eq!(client.send(request).await.problem(421), "forwarding_refused", "{grant}");
        }
    }
}

#[tokio::test]
async fn an_agent_that_moves_is_found_also_by_who_remembers_where_it_was() {
    let (_fleet, [a, b, c]) = Fleet::started().await;
    let client = a.operator().await;
    let agent = client.start_echo_agent().await;
    let (status, at_c) = (format!("{agent}/status"), client.at(&c));
    for round in 0.. {
        at_c.get(&status).await.ok();
        // It moves, which nobody tells the third server.
        let (from, to) = if round % 2 == 0 { (&a, &b) } else { (&b, &a) };
        assert_eq!(client.at(from).delete(&agent).await.ok()["state"], "stopped");
        assert_eq!(client.at(to).post_nothing(&format!("{agent}/restart")).await.ok()["state"], "running");
        assert_eq!(at_c.get(&status).await.ok()["transport"], "pty");
        // Unless moving it took so long that nothing was remembered any more.
        if remembered(&c, "stale").await > 0 {
            break;
        }
        assert!(round < 20, "nothing is remembered");
    }
    at_c.stable(&agent).await;
    at_c.say(&agent, "one").await;
    // It ends, and all that can be read of it is what was written.
    at_c.get(&status).await.ok();
    client.at(&a).delete(&agent).await.ok();
    assert_eq!(at_c.get(&status).await.problem(409), "agent_not_running");
    assert_eq!(at_c.conversation(&agent).await.last(), Some(&("agent".to_owned(), "you said one".to_owned())));
}

#[tokio::test]
async fn session_that_others_cannot_verify_is_not_forwarded() {
    let fleet = Fleet::make().await.env("SESSION_STORAGE", "memory");
    let [a, b, _c] = fleet.start().await;
    let client = a.operator().await;
    let agent = client.start_echo_agent().await;
    let key = client.post("/v1/api-keys", json!({"name": "x"})).await.ok();
    let key = b.anonymous().with_token(key["key"].as_str().expect("a key"));
    let answer = b.operator().await.get(&format!("{agent}/status")).await;
    assert_eq!(answer.problem(503), "service_unavailable");
    assert!(answer.json()["detail"].as_str().expect("a detail").contains("SESSION_STORAGE"), "{}", answer.text);
    assert_eq!(key.get(&format!("{agent}/status")).await.ok()["status"], "stable", "every server can verify an API key");
}
