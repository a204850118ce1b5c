//! Servers that stop, die, hang, and are replaced.

use std::time::Duration;

use reqwest::Method;
use serde_json::json;
use tokio::time::Instant;

use super::{Fleet, is_stable};
use crate::support::{EventStream, ServerBuilder, TestDatabase, eventually, operators_login};

#[tokio::test]
async fn a_killed_servers_agents_are_lost_and_live_on_elsewhere() {
    let (_fleet, [a, b, c]) = Fleet::started().await;
    let client = a.operator().await;
    let agent = client.at(&b).start_echo_agent().await;
    let client = client.at(&c);
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
        let client = client.at(server);
        assert_eq!(client.get(&agent).await.ok()["state"], "lost");
        assert_eq!(client.conversation(&agent).await.last(), Some(&answer));
        assert_eq!(client.get(&format!("{agent}/status")).await.problem(409), "agent_not_running");
    }
    // The stream goes on where it was, on another server and with another life.
    let at_a = client.at(&a);
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
    let (fleet, [a, b, _c]) = Fleet::started().await;
    let client = a.operator().await;
    // Says something every now and then, by itself.
    let loud = "while :; do echo \"at $(date +%N)\"; sleep 0.2; done & while read -rp '> ' line; do echo \"b said $line\"; done";
    let agent = client.at(&b).start_agent(&["bash", "-c", loud]).await;
    eventually("it runs", || async { fleet.builders[1].logged().contains("agent started").then_some(()) }).await;
    b.hang().await;
    // Nobody hangs on a server that hangs.
    let asked = Instant::now();
    let status = client.get(&format!("{agent}/status")).await;
    assert_eq!(status.problem(503), "service_unavailable");
    assert!(asked.elapsed() < Duration::from_secs(15), "{:?}", asked.elapsed());
    client.in_state(&agent, "lost").await;
    let restarted = client.post_nothing(&format!("{agent}/restart")).await.ok();
    assert_eq!(restarted["state"], "running");
    let before = client.conversation(&agent).await;
    b.resume();
    // It finds out by itself, kills its own, and has written nothing of it.
    let given_up = "the agent is no longer this server's";
    eventually("it gives up", || async { fleet.builders[1].logged().contains(given_up).then_some(()) }).await;
    let mut connection = fleet.database.connect().await;
    let fence: i64 = sqlx::query_scalar("SELECT fence FROM agents").fetch_one(&mut connection).await.expect("one agent");
    assert_eq!(fence, 2);
    let body = client.get(&agent).await.ok();
    assert_eq!((&body["state"], &body["started_at"]), (&json!("running"), &restarted["started_at"]));
    assert!(client.conversation(&agent).await.len() >= before.len());
    // And it is one of the others again.
    let new = json!({"type": "custom", "command": ["cat"]});
    let agent = eventually("it starts agents again", || async {
        let answer = client.at(&b).post("/v1/agents", new.clone()).await;
        if answer.status == 503 {
            assert!(!answer.header("retry-after").is_empty(), "{}", answer.text);
            return None;
        }
        let agent = answer.header("location").to_owned();
        answer.ok();
        Some(agent)
    })
    .await;
    assert_eq!(client.at(&a).get(&format!("{agent}/status")).await.ok()["transport"], "pty");
}

#[tokio::test]
async fn a_redis_that_goes_and_comes_back_empty_costs_no_agent() {
    let mut fleet = Fleet::make().await;
    let [a, b, c] = fleet.start().await;
    let client = a.operator().await;
    let agent = client.at(&b).start_echo_agent().await;
    client.at(&c).say(&agent, "one").await;
    fleet.redis.kill();
    let path = format!("{agent}/status");
    eventually("it is noticed", || async { (client.get(&path).await.status == 503).then_some(()) }).await;
    // Longer than a lease lasts: whoever takes silence for death would say so by now.
    eventually("leases have run out", || async {
        let log = fleet.builders[0].logged();
        (log.matches("lease cannot be renewed").count() >= 6).then_some(())
    })
    .await;
    fleet.redis.restart().await;
    // Sessions are gone with what was in it; the agent is not.
    let client = eventually("logging in works again", || async {
        let answer = c.anonymous().post("/v1/auth/login", operators_login()).await;
        answer.status.is_success().then(|| c.anonymous().with_token(answer.json()["token"].as_str().expect("a token")))
    })
    .await;
    // The server that runs the agent verifies the session, too.
    eventually("its server reaches Redis again", async || (client.get(&path).await.status == 200).then_some(())).await;
    client.say(&agent, "two").await;
    assert_eq!(client.conversation(&agent).await.len(), 5);
    assert_eq!(client.get(&agent).await.ok()["state"], "running");
}

#[tokio::test]
async fn a_server_that_stops_ends_its_agents_and_streams_in_order() {
    let (fleet, [a, b, c]) = Fleet::started().await;
    let client = a.operator().await;
    let agent = client.at(&b).start_echo_agent().await;
    let client = client.at(&c);
    client.say(&agent, "one").await;
    let mut events = client.events(&agent).await;
    events.until("the snapshot", is_stable).await;
    assert_eq!(b.terminate().await, Some(0));
    while events.next().await.is_some() {}
    assert_eq!(client.get(&agent).await.ok()["state"], "stopped");
    assert_eq!(client.conversation(&agent).await.last(), Some(&("agent".to_owned(), "you said one".to_owned())));
    assert_eq!(fleet.members().await.len(), 2, "it has left");
}

#[tokio::test]
async fn servers_are_replaced_one_by_one_under_load() {
    let (fleet, [a, b, c]) = Fleet::started().await;
    let client = c.operator().await;
    let agent = client.start_echo_agent().await;
    let mut replaced = Vec::new();
    for (builder, server) in fleet.builders[..2].iter().zip([a, b]) {
        let (through, path) = (client.at(&server), format!("{agent}/status"));
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
        assert_eq!(client.at(&anew).get(&format!("{agent}/status")).await.ok()["status"], "stable");
        replaced.push(anew);
    }
    assert_eq!(client.conversation(&agent).await.len(), 5);
}

#[tokio::test]
async fn a_server_that_counts_as_dead_starts_nothing_and_says_why() {
    let database = TestDatabase::create().await;
    let server = ServerBuilder::new(&database).start().await;
    let client = server.operator().await;
    let agent = client.start_echo_agent().await;
    client.delete(&agent).await.ok();
    sqlx::query("DELETE FROM replicas").execute(&mut database.connect().await).await.expect("struck off");
    let new = json!({"type": "custom", "command": ["cat"]});
    for answer in [client.post("/v1/agents", new).await, client.post_nothing(&format!("{agent}/restart")).await] {
        assert_eq!(answer.problem(503), "service_unavailable");
        assert_eq!(answer.json()["detail"], "this server is about to join the others again");
        assert!(!answer.header("retry-after").is_empty());
    }
    assert_eq!(client.get(&agent).await.ok()["state"], "stopped");
}
