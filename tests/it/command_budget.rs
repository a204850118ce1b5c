//! What a request costs Redis: commands, those inside scripts included, and round trips.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use redis::aio::MultiplexedConnection;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::task::TaskTracker;

use crate::support::{ServerBuilder, TestDatabase, TestRedis, eventually};

/// Counts the commands that Redis carries out, but for those that count, and those that a new connection begins with.
#[derive(Clone)]
struct CommandCount(MultiplexedConnection);

impl CommandCount {
    async fn reset(&mut self) {
        redis::cmd("CONFIG").arg("RESETSTAT").query_async::<()>(&mut self.0).await.expect("reset");
    }

    async fn calls(&mut self) -> u64 {
        let text: String = redis::cmd("INFO").arg("commandstats").query_async(&mut self.0).await.expect("statistics");
        let calls = |line: &str| {
            let (name, rest) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
            let counts = name != "info" && !name.starts_with("config|") && !name.starts_with("client|");
            counts.then(|| rest.split(',').next().expect("a number").parse::<u64>().expect("a number"))
        };
        text.lines().filter_map(calls).sum()
    }
}

#[tokio::test]
async fn a_request_costs_few_commands() {
    let (database, redis) = (TestDatabase::create().await, TestRedis::start().await);
    let builder = ServerBuilder::new(&database).redis(&redis).env("RATE_LIMIT_BURST_SIZE", "1000");
    let mut count = CommandCount(redis.connect().await);
    // A script with a clock asks for the time: one command more.
    for (algorithm, one, two) in [("fixed_window", 4, 5), ("sliding_window", 5, 6), ("token_bucket", 5, 6)] {
        let builder = builder.sibling().env("RATE_LIMIT_ALGORITHM", algorithm);
        for (tenant, commands) in [("", one), ("100000", two)] {
            let server = builder.sibling().env("RATE_LIMIT_TENANT_REQUESTS_PER_MINUTE", tenant).start().await;
            let client = server.operator().await;
            client.get("/v1/agents").await.ok();
            count.reset().await;
            for _ in 0..10 {
                client.get("/v1/agents").await.ok();
            }
            assert_eq!(count.calls().await, 10 * commands, "{algorithm}, tenant's limit {tenant:?}");
        }
    }
}

#[tokio::test]
async fn beginnings_and_refusals_cost_no_more() {
    let (database, redis) = (TestDatabase::create().await, TestRedis::start().await);
    let mut count = CommandCount(redis.connect().await);
    let builder = ServerBuilder::new(&database).redis(&redis).env("RATE_LIMIT_TENANT_BURST_SIZE", "0");
    for (tenant, budget) in [("", 4), ("1", 6)] {
        let server = builder
            .sibling()
            .env("RATE_LIMIT_TENANT_REQUESTS_PER_MINUTE", tenant)
            .env("RATE_LIMIT_REQUESTS_PER_MINUTE", "1")
            .env("RATE_LIMIT_BURST_SIZE", if tenant.is_empty() { "0" } else { "5" })
            .env("RATE_LIMIT_IP_REQUESTS_PER_MINUTE", "")
            .start()
            .await;
        let client = server.operator().await;
        for expected in [200, 429] {
            count.reset().await;
            assert_eq!(client.get("/v1/agents").await.status.as_u16(), expected);
            let calls = count.calls().await;
            assert!(calls <= budget, "{calls} commands for a {expected}, tenant's limit {tenant:?}");
        }
        redis::cmd("FLUSHALL").query_async::<()>(&mut count.0).await.expect("flushed");
    }
}

#[tokio::test]
async fn a_flood_over_the_limit_costs_redis_nothing() {
    let (database, redis) = (TestDatabase::create().await, TestRedis::start().await);
    let mut count = CommandCount(redis.connect().await);
    let limits = [("RATE_LIMIT_REQUESTS_PER_MINUTE", "1"), ("RATE_LIMIT_BURST_SIZE", "2")];
    for algorithm in ["fixed_window", "sliding_window", "token_bucket"] {
        redis::cmd("FLUSHALL").query_async::<()>(&mut count.0).await.expect("flushed");
        let mut builder = ServerBuilder::new(&database).redis(&redis).env("RATE_LIMIT_ALGORITHM", algorithm);
        for (name, value) in limits {
            builder = builder.env(name, value);
        }
        let server = builder.start().await;
        let client = server.operator().await;
        while client.get("/v1/agents").await.status == 200 {}
        count.reset().await;
        for _ in 0..100 {
            let answer = client.get("/v1/agents").await;
            assert_eq!(answer.problem(429), "rate_limited");
            assert!(answer.header("ratelimit").starts_with(r#""default";r=0;t="#), "{}", answer.header("ratelimit"));
        }
        assert_eq!(count.calls().await, 0, "{algorithm}");
        let metrics = server.anonymous().get("/metrics").await.text;
        assert!(metrics.contains(r#"outcome="denied",source="remembered",policy="default"} 100"#), "{metrics}");
    }
}

#[tokio::test]
async fn looking_oneself_up_costs_redis_little_and_once_a_while_only() {
    let (database, redis) = (TestDatabase::create().await, TestRedis::start().await);
    let builder = ServerBuilder::new(&database).redis(&redis).env("TOKEN_ENCRYPTION_KEY", &"d".repeat(64));
    let (one, two) = (builder.start().await, builder.sibling().start().await);
    let here = one.operator().await;
    here.get("/v1/agents").await.ok();
    let there = two.anonymous().with_token(here.token.as_deref().expect("a token"));
    there.get("/v1/agents").await.ok();
    let mut count = CommandCount(redis.connect().await);
    // Beyond the gate's 4: user and tenant asked for, and kept; found; known.
    for (client, commands) in [(&here, 4 + 2 + 2), (&there, 4 + 2), (&here, 4), (&there, 4)] {
        count.reset().await;
        client.get("/v1/auth/session").await.ok();
        // What is kept is kept after the answer.
        eventually("all is asked", || async { (count.clone().calls().await >= commands).then_some(()) }).await;
        assert_eq!(count.calls().await, commands);
    }
}

/// A proxy before Redis. While it withholds, no answer passes until both questions of a gated request have been asked.
struct Withholding {
    url: String,
    active: Arc<AtomicBool>,
    asked: watch::Sender<(bool, bool)>,
}

impl Withholding {
    async fn before(redis: &TestRedis) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let url = format!("redis://{}", listener.local_addr().expect("bound"));
        let target = redis.url().replace("redis://", "");
        let (active, asked) = (Arc::new(AtomicBool::new(false)), watch::Sender::default());
        let proxy = Self { url, active: active.clone(), asked: asked.clone() };
        let tasks = TaskTracker::new();
        tasks.clone().spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let redis = TcpStream::connect(&target).await.expect("Redis is there");
                let ((mut from_client, mut to_client), (mut from_redis, mut to_redis)) =
                    (client.into_split(), redis.into_split());
                let told = asked.clone();
                tasks.spawn(async move {
                    let mut buffer = vec![0; 65_536];
                    while let Ok(read @ 1..) = from_client.read(&mut buffer).await {
                        let text = String::from_utf8_lossy(&buffer[..read]).into_owned();
                        told.send_modify(|(session, limit)| {
                            *session |= text.contains("GETEX");
                            *limit |= text.contains("EVALSHA");
                        });
                        if to_redis.write_all(&buffer[..read]).await.is_err() {
                            break;
                        }
                    }
                });
                let (active, mut asked) = (active.clone(), asked.subscribe());
                tasks.spawn(async move {
                    let mut buffer = vec![0; 65_536];
                    while let Ok(read @ 1..) = from_redis.read(&mut buffer).await {
                        if active.load(Ordering::Relaxed) {
                            asked.wait_for(|asked| *asked == (true, true)).await.expect("the proxy lives");
                        }
                        if to_client.write_all(&buffer[..read]).await.is_err() {
                            break;
                        }
                    }
                });
            }
        });
        proxy
    }
}

#[tokio::test]
async fn a_request_asks_for_session_and_limits_before_either_is_answered() {
    let (database, redis) = (TestDatabase::create().await, TestRedis::start().await);
    let proxy = Withholding::before(&redis).await;
    let builder = ServerBuilder::new(&database)
        .redis(&redis)
        .env("REDIS_URL", &proxy.url)
        .env("RATE_LIMIT_TENANT_REQUESTS_PER_MINUTE", "1000");
    let server = builder.start().await;
    let client = server.operator().await;
    client.get("/v1/agents").await.ok();
    proxy.asked.send_replace((false, false));
    proxy.active.store(true, Ordering::Relaxed);
    let answer = client.get("/v1/agents").await;
    assert_eq!((answer.status.as_u16(), answer.header("x-ratelimit-limit")), (200, "1010"));
    let metrics = server.anonymous().get("/metrics").await.text;
    assert!(!metrics.contains(r#"source="local""#), "{metrics}");
}
