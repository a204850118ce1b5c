//! Servers that share Redis and Postgres act as one.

use std::time::Duration;

use reqwest::{Method, multipart};
use rustix::process::{Signal, kill_process};
use serde_json::json;
use tokio::time::Instant;

use crate::support::{Client, Event, EventStream, Server, ServerBuilder, TestDatabase, TestRedis, eventually};

/// Servers that are taken for dead after some seconds without a sign of life.
struct Fleet {
    builders: [ServerBuilder; 3],
    redis: TestRedis,
    database: TestDatabase,
}

impl Fleet {
    async fn make() -> Self {
        let (database, redis) = (TestDatabase::create().await, TestRedis::start().await);
        let key = "7".repeat(64);
        let builder = ServerBuilder::new(&database)
            .redis(&redis)
            .env("AGENTAPI_HEARTBEAT_INTERVAL", "500ms")
            .env("REDIS_COMMAND_TIMEOUT", "2s")
            .env("TOKEN_ENCRYPTION_KEY", &key);
        let builders = [builder.sibling(), builder.sibling(), builder.sibling()];
        Self { builders, redis, database }
    }

    async fn start(&self) -> [Server; 3] {
        let [a, b, c] = &self.builders;
        // One after the other: the first makes the operator.
        [a.start().await, b.start().await, c.start().await]
    }
}

fn is_stable(event: &Event) -> bool {
    event.name == "status_change" && event.data["status"] == "stable"
}

fn at(server: &Server, client: &Client) -> Client {
    server.anonymous().with_token(client.token.as_deref().expect("logged in"))
}

#[tokio::test]
async fn log_in_at_one_create_at_another_talk_through_a_third() {
    let fleet = Fleet::make().await;
    let [a, b, c] = fleet.start().await;
    let client = a.operator().await;
    let agent = at(&b, &client).start_echo_agent().await;
    let client = at(&c, &client);
    let status = client.get(&format!("{agent}/status")).await;
    // Limits are taken once, where the request came in.
    assert!(!status.header("x-ratelimit-limit").is_empty());
    assert_eq!(status.ok(), json!({"status": "stable", "agent_type": "custom", "transport": "pty"}));
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
    let log = std::fs::read_to_string(fleet.builders[2].log_file()).expect("a log");
    assert!(log.contains("agent started"), "it lives at the third now");
}

#[tokio::test]
async fn no_tenant_reaches_anothers_agent_through_another_server() {
    let fleet = Fleet::make().await;
    let [a, b, _c] = fleet.start().await;
    for args in [&["tenant", "create", "rival"][..], &["user", "create", "rival", "eve@rival.example", "--role", "admin"]] {
        let (code, _, error) = fleet.builders[0].run(args, "a password of eve\n").await;
        assert_eq!(code, Some(0), "{error}");
    }
    let agent = a.operator().await.start_echo_agent().await;
    let eve = b.anonymous().log_in("rival", "eve@rival.example", "a password of eve").await;
    for path in ["", "/status", "/messages", "/events", "/internal/screen"] {
        assert_eq!(eve.get(&format!("{agent}{path}")).await.problem(404), "not_found", "{path}");
    }
    let message = json!({"type": "raw", "content": "x"});
    assert_eq!(eve.post(&format!("{agent}/message"), message).await.problem(404), "not_found");
    assert_eq!(eve.delete(&agent).await.problem(404), "not_found");
}

#[tokio::test]
async fn servers_reach_each_other_by_names_that_are_not_for_browsers() {
    let mut fleet = Fleet::make().await;
    fleet.builders = fleet.builders.map(|builder| builder.env("AGENTAPI_ALLOWED_HOSTS", "agents.example"));
    let body = json!({"tenant": "default", "email": "admin@localhost", "password": crate::support::PASSWORD});
    let [a, b, _c] = fleet.start().await;
    let named = |request: reqwest::RequestBuilder| request.header("host", "agents.example");
    let nobody = a.anonymous();
    let login = nobody.send(named(nobody.request(Method::POST, "/v1/auth/login").json(&body))).await.ok();
    let client = nobody.with_token(login["token"].as_str().expect("a token"));
    let new = json!({"type": "custom", "command": ["cat"]});
    let agent = client.send(named(client.request(Method::POST, "/v1/agents").json(&new))).await.ok();
    let path = format!("/v1/agents/{}/status", agent["id"].as_str().expect("an id"));
    let client = at(&b, &client);
    assert_eq!(client.send(named(client.request(Method::GET, &path))).await.ok()["transport"], "pty");
    assert_eq!(client.get(&path).await.problem(400), "invalid_host", "a browser's host is checked where it comes in");
}

#[tokio::test]
async fn nobody_but_a_server_passes_requests_on() {
    let fleet = Fleet::make().await;
    let [a, b, _c] = fleet.start().await;
    let client = a.operator().await;
    let agent = client.start_echo_agent().await;
    for grant in ["", "v1", "v1.00000000.AAAA.AAAA", "true"] {
        // With and without a token of one's own: what is said to be passed on is believed or refused.
        for client in [a.anonymous(), client.clone(), at(&b, &client)] {
            let request = client.request(Method::GET, &format!("{agent}/status")).header("x-agentapi-passed-on", grant);
            assert_eq!(client.send(request).await.problem(401), "unauthenticated", "{grant}");
        }
    }
}

#[tokio::test]
async fn a_killed_servers_agents_are_lost_and_live_on_elsewhere() {
    let fleet = Fleet::make().await;
    let [a, b, c] = fleet.start().await;
    let client = a.operator().await;
    let agent = at(&b, &client).start_echo_agent().await;
    let client = at(&c, &client);
    client.say(&agent, "one").await;
    let mut events = client.events(&agent).await;
    let seen = events.until("the snapshot", is_stable).await;
    let died = Instant::now();
    b.kill().await;
    assert_eq!(events.next().await, None, "the stream ends in order");
    // Until it is known that its server is dead, an agent cannot be asked, but read.
    let history = |text: &str| ("agent".to_owned(), text.to_owned());
    let answer = history("you said one");
    let asked = Instant::now();
    while client.get(&agent).await.ok()["state"] == "running" {
        let status = client.get(&format!("{agent}/status")).await;
        match status.status.as_u16() {
            503 => assert!(!status.header("retry-after").is_empty()),
            other => assert_eq!(other, 409, "{}", status.text),
        }
        assert_eq!(client.conversation(&agent).await.last(), Some(&answer));
        assert!(asked.elapsed() < Duration::from_secs(30), "it is found dead");
    }
    println!("found dead after {:?}", died.elapsed());
    for server in [&a, &c] {
        let client = at(server, &client);
        assert_eq!(client.get(&agent).await.ok()["state"], "lost");
        assert_eq!(client.conversation(&agent).await.last(), Some(&answer));
        assert_eq!(client.get(&format!("{agent}/status")).await.problem(409), "agent_not_running");
    }
    // The stream goes on where it was, on another server and with another life.
    let at_a = at(&a, &client);
    assert_eq!(at_a.post_nothing(&format!("{agent}/restart")).await.ok()["state"], "running");
    at_a.stable(&agent).await;
    at_a.say(&agent, "two").await;
    let last = &seen.last().expect("an event").id;
    let request = client.request(Method::GET, &format!("{agent}/events")).header("last-event-id", last);
    let rest = EventStream::open(request).await.until("the second life", is_stable).await;
    let ids: Vec<_> = rest.iter().filter_map(|event| event.data["id"].as_i64()).collect();
    assert_eq!(ids, [2, 3, 4], "{rest:?}");
    assert_eq!(client.conversation(&agent).await.len(), 5);
}

#[tokio::test]
async fn a_server_that_was_away_gives_up_what_was_taken_from_it() {
    let fleet = Fleet::make().await;
    let [a, b, _c] = fleet.start().await;
    let client = a.operator().await;
    // Says something every now and then, by itself.
    let loud = "while :; do echo \"at $(date +%N)\"; sleep 0.2; done & while read -rp '> ' line; do echo \"b said $line\"; done";
    let agent = at(&b, &client).start_agent(&["bash", "-c", loud]).await;
    let pid = |log: &str| log.contains("agent started");
    eventually("it runs", || async { pid(&std::fs::read_to_string(fleet.builders[1].log_file()).ok()?).then_some(()) }).await;
    kill_process(b.pid(), Signal::STOP).expect("it runs");
    // Nobody hangs on a server that hangs.
    let asked = Instant::now();
    let status = client.get(&format!("{agent}/status")).await;
    assert_eq!(status.problem(503), "service_unavailable");
    assert!(asked.elapsed() < Duration::from_secs(15), "{:?}", asked.elapsed());
    client.in_state(&agent, "lost").await;
    let restarted = client.post_nothing(&format!("{agent}/restart")).await.ok();
    assert_eq!(restarted["state"], "running");
    let before = client.conversation(&agent).await;
    kill_process(b.pid(), Signal::CONT).expect("it runs");
    // It finds out by itself, kills its own, and has written nothing of it.
    let given_up = "the agent is no longer this server's";
    eventually("it gives up", || async {
        std::fs::read_to_string(fleet.builders[1].log_file()).ok()?.contains(given_up).then_some(())
    })
    .await;
    let mut connection = fleet.database.connect().await;
    let fence: i64 = sqlx::query_scalar("SELECT fence FROM agents").fetch_one(&mut connection).await.expect("one agent");
    assert_eq!(fence, 2);
    let body = client.get(&agent).await.ok();
    assert_eq!((&body["state"], &body["started_at"]), (&json!("running"), &restarted["started_at"]));
    assert!(client.conversation(&agent).await.len() >= before.len());
    // And it is one of the others again.
    let client = at(&b, &client);
    let agent = client.start_echo_agent().await;
    assert_eq!(at(&a, &client).get(&format!("{agent}/status")).await.ok()["status"], "stable");
}

#[tokio::test]
async fn a_redis_that_goes_and_comes_back_empty_costs_no_agent() {
    let mut fleet = Fleet::make().await;
    let [a, b, c] = fleet.start().await;
    let client = a.operator().await;
    let agent = at(&b, &client).start_echo_agent().await;
    at(&c, &client).say(&agent, "one").await;
    fleet.redis.kill();
    let path = format!("{agent}/status");
    eventually("it is noticed", || async { (client.get(&path).await.status == 503).then_some(()) }).await;
    // Longer than a lease lasts: whoever takes silence for death would say so by now.
    eventually("leases have run out", || async {
        let log = std::fs::read_to_string(fleet.builders[0].log_file()).ok()?;
        (log.matches("lease cannot be renewed").count() >= 6).then_some(())
    })
    .await;
    fleet.redis.restart().await;
    // Sessions are gone with what was in it; the agent is not.
    let client = eventually("logging in works again", || async {
        let body = json!({"tenant": "default", "email": "admin@localhost", "password": crate::support::PASSWORD});
        let answer = c.anonymous().post("/v1/auth/login", body).await;
        answer.status.is_success().then(|| c.anonymous().with_token(answer.json()["token"].as_str().expect("a token")))
    })
    .await;
    client.say(&agent, "two").await;
    assert_eq!(client.conversation(&agent).await.len(), 5);
    assert_eq!(client.get(&agent).await.ok()["state"], "running");
}

#[tokio::test]
async fn a_server_that_stops_ends_its_agents_and_streams_in_order() {
    let fleet = Fleet::make().await;
    let [a, b, c] = fleet.start().await;
    let client = a.operator().await;
    let agent = at(&b, &client).start_echo_agent().await;
    let client = at(&c, &client);
    client.say(&agent, "one").await;
    let mut events = client.events(&agent).await;
    events.until("the snapshot", is_stable).await;
    assert_eq!(b.terminate().await, Some(0));
    while events.next().await.is_some() {}
    assert_eq!(client.get(&agent).await.ok()["state"], "stopped");
    assert_eq!(client.conversation(&agent).await.last(), Some(&("agent".to_owned(), "you said one".to_owned())));
    let mut connection = fleet.database.connect().await;
    let living: i64 = sqlx::query_scalar("SELECT count(*) FROM replicas").fetch_one(&mut connection).await.expect("counted");
    assert_eq!(living, 2, "it has left");
}

#[tokio::test]
async fn servers_are_replaced_one_by_one_under_load() {
    let fleet = Fleet::make().await;
    let [a, b, c] = fleet.start().await;
    let client = c.operator().await;
    let agent = client.start_echo_agent().await;
    let mut replaced = Vec::new();
    for (builder, server) in fleet.builders[..2].iter().zip([a, b]) {
        let (through, path) = (at(&server, &client), format!("{agent}/status"));
        let load = tokio_util::task::TaskTracker::new().spawn(async move {
            let mut statuses = Vec::new();
            // Until its server is gone: then it takes no more connections.
            while let Ok(answer) = through.request(Method::GET, &path).send().await {
                statuses.push(answer.status().as_u16());
            }
            statuses
        });
        client.say(&agent, "during").await;
        assert_eq!(server.terminate().await, Some(0));
        let statuses = load.await.expect("no panic");
        assert!(!statuses.is_empty() && statuses.iter().all(|status| *status == 200), "{statuses:?}");
        let anew = builder.start().await;
        assert_eq!(at(&anew, &client).get(&format!("{agent}/status")).await.ok()["status"], "stable");
        replaced.push(anew);
    }
    assert_eq!(client.conversation(&agent).await.len(), 5);
}
