//! What a request costs Redis: commands, those inside scripts included, and round trips.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::task::TaskTracker;

use crate::support::{ServerBuilder, TestDatabase, TestRedis, Upstash, eventually};

const ALGORITHMS: [&str; 3] = ["fixed_window", "sliding_window", "token_bucket"];

/// A database and a Redis, and servers on it by both protocols, which keep counts apart.
struct Places {
    database: TestDatabase,
    redis: TestRedis,
    upstash: Upstash,
}

impl Places {
    async fn make() -> Self {
        let (database, redis) = (TestDatabase::create().await, TestRedis::start().await);
        let upstash = Upstash::start(&redis).await;
        Self { database, redis, upstash }
    }

    /// A server under each protocol and algorithm.
    fn builders(&self) -> Vec<(&'static str, &'static str, ServerBuilder)> {
        let builder = ServerBuilder::new(&self.database).env("RATE_LIMIT_BURST_SIZE", "1000");
        let native = builder.sibling().redis(&self.redis);
        let rest = builder.upstash(&self.upstash).env("REDIS_COMMAND_TIMEOUT", "20s");
        let protocols = [("native", native), ("rest", rest)];
        let all = |(protocol, builder): &(&'static str, ServerBuilder)| {
            let builder = builder.clone();
            let protocol = *protocol;
            ALGORITHMS.map(move |algorithm| (protocol, algorithm, builder.sibling().env("RATE_LIMIT_ALGORITHM", algorithm)))
        };
        protocols.iter().flat_map(all).collect()
    }

    async fn forget(&self) {
        let mut connection = self.redis.connect().await;
        redis::cmd("FLUSHALL").query_async::<()>(&mut connection).await.expect("flushed");
    }

    /// How many commands Redis carries out for `what`, those within scripts included.
    async fn calls(&self, what: impl Future<Output = ()>) -> u64 {
        self.redis.commands_of(what).await.1.values().sum()
    }
}

#[tokio::test]
async fn a_request_costs_few_commands_and_one_round_trip() {
    let places = Places::make().await;
    for (protocol, algorithm, builder) in places.builders() {
        for (tenant, ip, commands) in [("", "", 4), ("100000", "", 5), ("100000", "100000", 6)] {
            let server = builder
                .sibling()
                .env("RATE_LIMIT_TENANT_REQUESTS_PER_MINUTE", tenant)
                .env("RATE_LIMIT_IP_REQUESTS_PER_MINUTE", ip)
                .start()
                .await;
            let client = server.operator().await;
            client.get("/v1/agents").await.ok();
            places.upstash.take_seen();
            let (requests, what) = (10, format!("{protocol}, {algorithm}, limits {tenant:?} {ip:?}"));
            let calls = places.calls(async {
                for _ in 0..requests {
                    client.get("/v1/agents").await.ok();
                }
            });
            assert_eq!(calls.await, requests * commands, "{what}");
            if protocol == "rest" {
                let seen: Vec<usize> = places.upstash.take_seen().iter().map(|seen| seen.commands.len()).collect();
                assert_eq!(seen, [2; 10], "one HTTP request with two commands each: {what}");
            }
        }
        places.forget().await;
    }
}

/// The first requests of a window, the first that is refused, and dear ones (5 each) that are refused although a cheaper one may
/// pass, and because none may.
#[tokio::test]
async fn beginnings_and_refusals_cost_no_more() {
    let places = Places::make().await;
    for (protocol, algorithm, builder) in places.builders() {
        // Those before the last and narrowest must be taken back.
        let (wide, narrow) = if algorithm == "token_bucket" { (("90", "90"), ("7", "7")) } else { (("90", "0"), ("7", "0")) };
        for limits in 1..=3 {
            let server = (1..=limits).fold(builder.sibling(), |builder, place| {
                let (rate, burst) = if place == limits { narrow } else { wide };
                let of = ["", "TENANT_", "IP_"][place - 1];
                let builder = builder.env(&format!("RATE_LIMIT_{of}REQUESTS_PER_MINUTE"), rate);
                builder.env(&format!("RATE_LIMIT_{of}BURST_SIZE"), burst)
            });
            let server = server.start().await;
            let what = format!("{protocol}, {algorithm}, {limits} limits");
            let budget = if algorithm == "fixed_window" { [4, 6, 8][limits - 1] } else { [4, 5, 6][limits - 1] };
            let client = server.operator().await;
            let mut dear_refusals = 0;
            for dear in [true, false, true, false, false, false, false, true] {
                let mut status = 0;
                let calls = places.calls(async {
                    let answer = if dear {
                        client.post("/v1/agents", serde_json::json!({})).await
                    } else {
                        client.get("/v1/agents").await
                    };
                    status = answer.status.as_u16();
                });
                let (calls, refused) = (calls.await, status == 429);
                dear_refusals += usize::from(dear && refused);
                // To take back what a lone counter had counted is one command more, once: the refusal is remembered.
                let taken_back = algorithm == "fixed_window" && limits == 1 && dear && refused && dear_refusals == 1;
                let budget = budget + u64::from(taken_back);
                assert!(calls <= budget, "{calls} commands for a {status}: {what}");
            }
            assert!(dear_refusals > 0, "{what}");
            places.forget().await;
        }
    }
}

#[tokio::test]
async fn a_flood_over_the_limit_costs_redis_nothing() {
    let places = Places::make().await;
    for (protocol, algorithm, builder) in places.builders() {
        let limits = builder.env("RATE_LIMIT_REQUESTS_PER_MINUTE", "1").env("RATE_LIMIT_BURST_SIZE", "2");
        let server = limits.start().await;
        let client = server.operator().await;
        while client.get("/v1/agents").await.status == 200 {}
        let calls = places.calls(async {
            for _ in 0..100 {
                let answer = client.get("/v1/agents").await;
                assert_eq!(answer.problem(429), "rate_limited");
                assert!(answer.header("ratelimit").starts_with(r#""default";r=0;t="#), "{}", answer.header("ratelimit"));
            }
        });
        assert_eq!(calls.await, 0, "{protocol}, {algorithm}");
        let metrics = server.anonymous().get("/metrics").await.text;
        assert!(metrics.contains(r#"outcome="denied",source="remembered",policy="default"} 100"#), "{metrics}");
        places.forget().await;
    }
}

#[tokio::test]
async fn looking_oneself_up_costs_redis_little_and_once_a_while_only() {
    let (database, redis) = (TestDatabase::create().await, TestRedis::start().await);
    let builder = ServerBuilder::new(&database).redis(&redis).env("TOKEN_ENCRYPTION_KEY", &"d".repeat(64));
    let (one, two) = (builder.start().await, builder.sibling().start().await);
    let here = one.operator().await;
    here.get("/v1/agents").await.ok();
    let there = here.at(&two);
    there.get("/v1/agents").await.ok();
    // Beyond the gate's 4: user and tenant asked for, and kept; found; known.
    for (client, commands) in [(&here, 4 + 2 + 2), (&there, 4 + 2), (&here, 4), (&there, 4)] {
        redis.forget_commands().await;
        client.get("/v1/auth/session").await.ok();
        // What is kept is kept after the answer.
        let calls = async || redis.commands().await.values().sum::<u64>();
        eventually("all is asked", || async { (calls().await >= commands).then_some(()) }).await;
        assert_eq!(calls().await, commands);
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
