//! Several limits at once, and tenants' own.

use reqwest::Method;
use reqwest::multipart::{Form, Part};
use serde_json::json;

use crate::support::{Answer, Client, ServerBuilder, TestDatabase, TestRedis, eventually};

async fn count(redis: &TestRedis, pattern: &str) -> Vec<u64> {
    let mut connection = redis.connect().await;
    let keys: Vec<String> = redis::cmd("KEYS").arg(pattern).query_async(&mut connection).await.expect("keys");
    let mut counts = Vec::new();
    for key in keys {
        counts.push(redis::cmd("GET").arg(key).query_async(&mut connection).await.expect("a counter"));
    }
    counts.sort_unstable();
    counts
}

async fn with_bob(builder: &ServerBuilder, anonymous: &Client) -> Client {
    builder.done(&["user", "create", "default", "bob@localhost"], "hunter2 hunter2\n").await;
    anonymous.log_in("default", "bob@localhost", "hunter2 hunter2").await
}

#[tokio::test]
async fn users_share_their_tenants_limit_and_are_charged_only_for_what_passes() {
    let (database, redis) = (TestDatabase::create().await, TestRedis::start().await);
    let builder = ServerBuilder::new(&database)
        .redis(&redis)
        .env("RATE_LIMIT_REQUESTS_PER_MINUTE", "10")
        .env("RATE_LIMIT_BURST_SIZE", "0")
        .env("RATE_LIMIT_TENANT_REQUESTS_PER_MINUTE", "4")
        .env("RATE_LIMIT_IP_REQUESTS_PER_MINUTE", "50");
    let server = builder.start().await;
    let admin = server.operator().await;
    let bob = with_bob(&builder, &server.anonymous()).await;
    for (client, left) in [(&admin, "3"), (&bob, "2"), (&admin, "1"), (&admin, "0")] {
        let answer = client.get("/v1/agents").await;
        assert_eq!(answer.header("ratelimit-policy"), r#""default";q=10;w=60, "tenant";q=4;w=60, "ip";q=50;w=60"#);
        assert!(answer.header("ratelimit").starts_with(&format!(r#""tenant";r={left};t="#)), "{}", answer.header("ratelimit"));
        assert_eq!((answer.header("x-ratelimit-limit"), answer.header("x-ratelimit-remaining")), ("4", left));
        answer.ok();
    }
    for client in [&admin, &bob] {
        let answer = client.get("/v1/agents").await;
        assert_eq!(answer.problem(429), "rate_limited");
        assert_eq!(answer.json()["violated-policies"], json!(["tenant"]));
    }
    assert_eq!(count(&redis, "ratelimit:user:*").await, [1, 3]);
    // Two log-ins were of this address too.
    assert_eq!(count(&redis, "ratelimit:ip:*").await, [6]);
}

#[tokio::test]
async fn a_dear_route_costs_more_and_a_refused_one_leaves_the_rest_to_cheaper_ones() {
    let database = TestDatabase::create().await;
    let builder = ServerBuilder::new(&database).env("RATE_LIMIT_REQUESTS_PER_MINUTE", "8").env("RATE_LIMIT_BURST_SIZE", "0");
    let server = builder.start().await;
    let client = server.operator().await;
    let start = || client.post("/v1/agents", json!({"type": "custom", "command": ["cat"]}));
    let answer = start().await;
    assert_eq!((answer.status.as_u16(), answer.header("x-ratelimit-remaining")), (201, "3"));
    for _ in 0..2 {
        let answer = start().await;
        assert_eq!((answer.problem(429).as_str(), answer.header("x-ratelimit-remaining")), ("rate_limited", "3"));
    }
    for left in ["2", "1", "0"] {
        let answer = client.get("/v1/agents").await;
        assert_eq!((answer.status.as_u16(), answer.header("x-ratelimit-remaining")), (200, left));
    }
    assert_eq!(client.get("/v1/agents").await.status, 429);
}

#[tokio::test]
async fn starting_restarting_and_uploading_cost_more_than_the_rest() {
    let database = TestDatabase::create().await;
    let builder = ServerBuilder::new(&database).env("RATE_LIMIT_REQUESTS_PER_MINUTE", "50").env("RATE_LIMIT_BURST_SIZE", "0");
    let server = builder.start().await;
    let client = server.operator().await;
    let left = |answer: &Answer| {
        assert!(answer.status.is_success(), "{} {}", answer.status, answer.text);
        answer.header("x-ratelimit-remaining").parse::<u64>().expect("a number")
    };
    let started = client.post("/v1/agents", json!({"type": "custom", "command": ["cat"]})).await;
    assert_eq!(left(&started), 45);
    let agent = format!("/v1/agents/{}", started.ok()["id"].as_str().expect("an id"));
    let form = Form::new().part("file", Part::bytes(vec![b'x']).file_name("notes.txt"));
    let uploaded = client.send(client.request(Method::POST, &format!("{agent}/upload")).multipart(form)).await;
    assert_eq!(left(&uploaded), 43);
    assert_eq!(left(&client.get(&agent).await), 42);
    assert_eq!(left(&client.delete(&agent).await), 41);
    assert_eq!(left(&client.post_nothing(&format!("{agent}/restart")).await), 36);
}

#[tokio::test]
async fn a_tenants_own_limits_are_set_at_the_command_line_and_followed_within_seconds() {
    let (database, redis) = (TestDatabase::create().await, TestRedis::start().await);
    let builder = ServerBuilder::new(&database).redis(&redis);
    let server = builder.start().await;
    let client = server.operator().await;
    let policy = async || client.get("/v1/agents").await.header("ratelimit-policy").to_owned();
    assert_eq!(policy().await, r#""default";q=100010;w=60"#);
    let limits = async |arguments: &[&str]| {
        let arguments = [&["tenant", "limits", "default"], arguments].concat();
        builder.done(&arguments, "").await
    };
    assert_eq!(
        limits(&[]).await,
        "tenant\trequests-per-minute=default\tburst=default\nuser\trequests-per-minute=default\tburst=default\n"
    );
    limits(&["--requests-per-minute", "5000", "--burst", "7", "--user-requests-per-minute", "600"]).await;
    let said = limits(&["--user-burst", "0"]).await;
    assert_eq!(said, "tenant\trequests-per-minute=5000\tburst=7\nuser\trequests-per-minute=600\tburst=0\n");
    let own = r#""default";q=600;w=60, "tenant";q=5007;w=60"#;
    eventually("its own limits hold", || async { (policy().await == own).then_some(()) }).await;
    limits(&["--clear", "--user-requests-per-minute", "700"]).await;
    eventually("only the new one does", || async { (policy().await == r#""default";q=710;w=60"#).then_some(()) }).await;
    for wrong in [&["--burst", "1000001"][..], &["--requests-per-minute", "0"], &["--requests-per-minute", "many"]] {
        let (code, ..) = builder.run(&[&["tenant", "limits", "default"], wrong].concat(), "").await;
        assert_eq!(code, Some(2), "{wrong:?}");
    }
    let (code, _, error) = builder.run(&["tenant", "limits", "nowhere"], "").await;
    assert_eq!((code, error.contains("there is no tenant nowhere")), (Some(1), true), "{error}");
}
