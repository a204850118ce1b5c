//! What is cached, by whom it is seen, and when it is forgotten.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use sqlx::{Executor, PgConnection};

use crate::support::{Client, PATIENCE, Server, ServerBuilder, TestDatabase, TestRedis, Upstash, eventually};

async fn email(client: &Client) -> String {
    client.get("/v1/auth/session").await.ok()["user"]["email"].as_str().expect("an address").to_owned()
}

async fn counted(server: &Server, series: &str) -> u64 {
    let metrics = server.anonymous().get("/metrics").await.text;
    let line = metrics.lines().find_map(|line| line.strip_prefix(series));
    line.map_or(0, |count| count.trim().parse().expect("a number"))
}

async fn requests(server: &Server, kind: &str, outcome: &str) -> u64 {
    counted(server, &format!(r#"agentapi_cache_requests_total{{kind="{kind}",outcome="{outcome}"}}"#)).await
}

/// Waits until so many values of a kind are kept: that goes on after the answer.
async fn stored(server: &Server, kind: &str, values: u64) {
    let series = format!(r#"agentapi_cache_fills_total{{kind="{kind}",result="stored"}}"#);
    eventually("it is kept", || async { (counted(server, &series).await == values).then_some(()) }).await;
}

async fn run(builder: &ServerBuilder, arguments: &[&str]) {
    builder.done(arguments, "hunter2 hunter2\n").await;
}

/// Changes an address behind the server's back.
async fn rename(connection: &mut PgConnection, name: &str) {
    let statement = sqlx::query("UPDATE users SET email = $1 WHERE email <> 'admin@localhost'").bind(name.to_owned());
    connection.execute(statement).await.expect("changed");
}

/// Two servers that share a cache.
async fn two_servers(database: &TestDatabase, redis: &TestRedis) -> (ServerBuilder, [Server; 2]) {
    let builder = ServerBuilder::new(database).redis(redis).env("TOKEN_ENCRYPTION_KEY", &"d".repeat(64));
    let servers = [builder.start().await, builder.sibling().start().await];
    (builder, servers)
}

/// Waits until so many servers hear of changes: one that begins to listen forgets what it knows.
async fn listening(connection: &mut PgConnection, servers: i64) {
    let all_listen = async {
        loop {
            let listeners = sqlx::query_scalar::<_, i64>(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
                    AND query LIKE '%LISTEN%agentapi_changes%' AND pid <> pg_backend_pid() AND state = 'idle'",
            );
            if listeners.fetch_one(&mut *connection).await.expect("a number") >= servers {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, all_listen).await.expect("all listen");
}

#[tokio::test]
async fn a_user_is_looked_up_once_until_it_is_changed() {
    let redis = TestRedis::start().await;
    let upstash = Upstash::start(&redis).await;
    let builder = |database: &TestDatabase, kind| match kind {
        "memory" => ServerBuilder::new(database),
        "redis" => ServerBuilder::new(database).redis(&redis),
        _ => ServerBuilder::new(database).upstash(&upstash).env("REDIS_COMMAND_TIMEOUT", "20s"),
    };
    for kind in ["memory", "redis", "rest"] {
        let database = TestDatabase::create().await;
        let builder = builder(&database, kind).env("TOKEN_ENCRYPTION_KEY", &"d".repeat(64));
        let servers = [builder.start().await, builder.sibling().start().await];
        run(&builder, &["user", "create", "default", "bob@localhost"]).await;
        let mut connection = database.connect().await;
        listening(&mut connection, 2).await;
        let mut clients = Vec::new();
        for server in &servers {
            let client = server.anonymous().log_in("default", "bob@localhost", "hunter2 hunter2").await;
            assert_eq!(email(&client).await, "bob@localhost");
            stored(&servers[0], "tenant", 1).await;
            clients.push(client);
        }
        rename(&mut connection, "rob@localhost").await;
        for client in &clients {
            assert_eq!(email(client).await, "bob@localhost", "{kind}: it is cached");
        }
        // A change that ends no session, and that every server hears of.
        run(&builder, &["user", "enable", "default", "rob@localhost"]).await;
        for client in &clients {
            eventually("the change is seen", || async { (email(client).await == "rob@localhost").then_some(()) }).await;
        }
        assert!(requests(&servers[1], "user", "near").await > 0, "{kind}");
        let shared = requests(&servers[1], "tenant", "hit").await;
        assert_eq!(shared, u64::from(kind != "memory"), "{kind}: the first server's look-up serves the second");
    }
}

#[tokio::test]
async fn a_change_that_redis_could_not_be_told_of_is_told_once_it_is_back() {
    let (database, mut redis) = (TestDatabase::create().await, TestRedis::start().await);
    // Sessions elsewhere: without them nobody gets as far as the cache.
    let builder = ServerBuilder::new(&database).env("REDIS_URL", &redis.url()).env("SESSION_STORAGE", "memory");
    let server = builder.start().await;
    run(&builder, &["user", "create", "default", "bob@localhost"]).await;
    let mut connection = database.connect().await;
    listening(&mut connection, 1).await;
    let client = server.anonymous().log_in("default", "bob@localhost", "hunter2 hunter2").await;
    assert_eq!(email(&client).await, "bob@localhost");
    stored(&server, "user", 1).await;
    let mut keys = redis::cmd("KEYS");
    let keys: Vec<String> = keys.arg("cache:*:user:*").query_async(&mut redis.connect().await).await.expect("keys");
    let cached = async |redis: &TestRedis| {
        let mut get = redis::cmd("GET");
        get.arg(&keys[0]).query_async::<Option<String>>(&mut redis.connect().await).await.expect("an answer")
    };
    let before = cached(&redis).await.expect("it is cached");
    redis.kill();
    rename(&mut connection, "rob@localhost").await;
    run(&builder, &["user", "enable", "default", "rob@localhost"]).await;
    eventually("the change is seen", || async { (email(&client).await == "rob@localhost").then_some(()) }).await;
    redis.restart().await;
    eventually("what it kept on disk is forgotten", || async { (cached(&redis).await? != before).then_some(()) }).await;
    assert_eq!((cached(&redis).await.as_deref(), email(&client).await.as_str()), (Some("-"), "rob@localhost"));
}

#[tokio::test]
async fn who_is_thrown_out_is_out_whatever_is_cached() {
    let (database, redis) = (TestDatabase::create().await, TestRedis::start().await);
    let builder = ServerBuilder::new(&database).redis(&redis);
    let server = builder.start().await;
    run(&builder, &["user", "create", "default", "bob@localhost"]).await;
    for command in [&["user", "disable", "default", "bob@localhost"][..], &["tenant", "suspend", "default"]] {
        let client = server.anonymous().log_in("default", "bob@localhost", "hunter2 hunter2").await;
        assert_eq!((email(&client).await, email(&client).await), ("bob@localhost".to_owned(), "bob@localhost".to_owned()));
        run(&builder, command).await;
        assert_eq!(client.get("/v1/auth/session").await.problem(401), "unauthenticated");
        let login = serde_json::json!({"tenant": "default", "email": "bob@localhost", "password": "hunter2 hunter2"});
        assert_eq!(server.anonymous().post("/v1/auth/login", login).await.problem(401), "invalid_credentials");
        run(&builder, &["user", "enable", "default", "bob@localhost"]).await;
    }
}

#[tokio::test]
async fn the_conversation_of_an_ended_agent_is_read_once_for_all_servers() {
    let (database, redis) = (TestDatabase::create().await, TestRedis::start().await);
    let (builder, [one, two]) = two_servers(&database, &redis).await;
    let mut connection = database.connect().await;
    listening(&mut connection, 2).await;
    let here = one.operator().await;
    let there = here.at(&two);
    let agent = here.start_echo_agent().await;
    here.say(&agent, "hello").await;
    assert_eq!(requests(&one, "conversation", "miss").await, 0, "a live agent knows its own");
    there.conversation(&agent).await;
    assert_eq!(requests(&two, "conversation", "miss").await, 0, "nor is one cached that runs elsewhere");
    here.delete(&agent).await.ok();
    let said = here.conversation(&agent).await;
    assert!(said.iter().any(|(_, text)| text.contains("you said hello")), "{said:?}");
    stored(&one, "conversation", 1).await;
    connection.execute("UPDATE messages SET content = 'changed behind its back'").await.expect("changed");
    assert_eq!((here.conversation(&agent).await, there.conversation(&agent).await), (said.clone(), said.clone()));
    assert_eq!((requests(&one, "conversation", "miss").await, requests(&one, "conversation", "near").await), (1, 1));
    assert_eq!((requests(&two, "conversation", "hit").await, requests(&two, "conversation", "miss").await), (1, 0));
    // It is nobody else's for being cached.
    run(&builder, &["tenant", "create", "acme"]).await;
    run(&builder, &["user", "create", "acme", "eve@acme.example"]).await;
    let eve = two.anonymous().log_in("acme", "eve@acme.example", "hunter2 hunter2").await;
    assert_eq!(eve.get(&format!("{agent}/messages")).await.problem(404), "not_found");
    // It goes on and ends again: everybody sees what was said meanwhile.
    here.post_nothing(&format!("{agent}/restart")).await.ok();
    here.stable(&agent).await;
    here.say(&agent, "again").await;
    here.delete(&agent).await.ok();
    for client in [&here, &there] {
        let said = client.conversation(&agent).await;
        assert!(said.iter().any(|(_, text)| text.contains("you said again")), "{said:?}");
    }
}

/// An agent's messages, read page by page.
async fn page_by_page(client: &Client, agent: &str) -> Vec<(i64, String)> {
    let (mut messages, mut after) = (Vec::new(), String::new());
    loop {
        let page = client.get(&format!("{agent}/messages?limit=2{after}")).await.ok();
        let said = page["messages"].as_array().expect("messages");
        assert!((1..=2).contains(&said.len()), "{page}");
        messages.extend(said.iter().map(|m| (m["id"].as_i64().expect("an id"), m["content"].as_str().expect("text").to_owned())));
        assert!(page.as_object().expect("an object").contains_key("next"), "{page}");
        let Some(next) = page["next"].as_i64() else { return messages };
        assert_eq!(messages.last().expect("a message").0, next);
        after = format!("&after={next}");
    }
}

#[tokio::test]
async fn a_page_of_settled_messages_is_read_once_for_all_servers() {
    let (database, redis) = (TestDatabase::create().await, TestRedis::start().await);
    let (_builder, [one, two]) = two_servers(&database, &redis).await;
    let here = one.operator().await;
    let there = here.at(&two);
    let agent = here.start_echo_agent().await;
    here.say(&agent, "one").await;
    here.say(&agent, "two").await;
    let said = page_by_page(&here, &agent).await;
    assert_eq!(said.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
    assert_eq!(page_by_page(&there, &agent).await, said);
    for server in [&one, &two] {
        assert_eq!(requests(server, "conversation", "miss").await, 0, "what may still change is not cached");
    }
    here.delete(&agent).await.ok();
    assert_eq!(page_by_page(&here, &agent).await, said);
    stored(&one, "conversation", 3).await;
    database.connect().await.execute("UPDATE messages SET content = 'changed behind its back'").await.expect("changed");
    assert_eq!((page_by_page(&here, &agent).await, page_by_page(&there, &agent).await), (said.clone(), said));
    assert_eq!((requests(&one, "conversation", "miss").await, requests(&one, "conversation", "near").await), (3, 3));
    assert_eq!((requests(&two, "conversation", "hit").await, requests(&two, "conversation", "miss").await), (3, 0));
    // It is another page, or the whole.
    let changed = |body: serde_json::Value, messages| {
        assert_eq!(body["messages"].as_array().expect("messages").len(), messages, "{body}");
        assert!(
            body["messages"].as_array().expect("messages").iter().all(|m| m["content"] == "changed behind its back"),
            "{body}"
        );
    };
    changed(here.get(&format!("{agent}/messages?after=1")).await.ok(), 3);
    changed(here.get(&format!("{agent}/messages?limit=3")).await.ok(), 3);
    let whole = here.get(&format!("{agent}/messages")).await.ok();
    assert!(!whole.as_object().expect("an object").contains_key("next"), "{whole}");
    changed(whole, 5);
}

#[tokio::test]
async fn a_long_conversation_is_not_cached() {
    let (database, redis) = (TestDatabase::create().await, TestRedis::start().await);
    let server = ServerBuilder::new(&database).redis(&redis).start().await;
    let client = server.operator().await;
    let agent = client.start_echo_agent().await;
    client.delete(&agent).await.ok();
    let mut connection = database.connect().await;
    connection.execute("UPDATE messages SET content = repeat('x', 70000)").await.expect("changed");
    for _ in 0..2 {
        let body = client.get(&format!("{agent}/messages")).await.ok();
        assert_eq!(body["messages"][0]["content"].as_str().map(str::len), Some(70_000));
    }
    let too_large = r#"agentapi_cache_fills_total{kind="conversation",result="too_large"}"#;
    assert_eq!((requests(&server, "conversation", "miss").await, counted(&server, too_large).await), (2, 2));
    let keys: Vec<String> =
        redis::cmd("KEYS").arg("cache:*conversation*").query_async(&mut redis.connect().await).await.expect("keys");
    assert_eq!(keys, Vec::<String>::new());
}

#[tokio::test]
async fn a_redis_that_hangs_or_is_gone_is_a_miss() {
    for failure in [|redis: &mut TestRedis| redis.hang(), TestRedis::kill] {
        let (database, mut redis) = (TestDatabase::create().await, TestRedis::start().await);
        // Sessions elsewhere: without them nobody gets as far as the cache.
        let builder = ServerBuilder::new(&database).env("REDIS_URL", &redis.url()).env("SESSION_STORAGE", "memory");
        let server = builder.start().await;
        let client = server.operator().await;
        failure(&mut redis);
        let start = Instant::now();
        for answer in join_all((0..64).map(|_| client.get("/v1/auth/session"))).await {
            assert_eq!(answer.ok()["user"]["email"], "admin@localhost");
        }
        assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
        assert_eq!((requests(&server, "user", "error").await, requests(&server, "user", "hit").await), (1, 0));
        let unavailable = r#"agentapi_cache_fills_total{kind="user",result="unavailable"}"#;
        assert_eq!(counted(&server, unavailable).await, 1);
    }
}
