//! Whose limits a key spends, and what it costs.

use serde_json::json;

use super::{Key, look_ups};
use crate::support::{ServerBuilder, TestDatabase, TestRedis, Upstash, eventually};

/// How many requests Redis has counted under a prefix of `ratelimit:`.
async fn counted(redis: &TestRedis, whose: &str) -> u64 {
    let mut connection = redis.connect().await;
    let keys: Vec<String> =
        redis::cmd("KEYS").arg(format!("ratelimit:{whose}:*")).query_async(&mut connection).await.expect("keys");
    let mut sum = 0;
    for key in keys {
        sum += redis::cmd("GET").arg(key).query_async::<u64>(&mut connection).await.expect("a number");
    }
    sum
}

#[tokio::test]
async fn invented_keys_spend_no_limit_but_their_addresss_and_cost_no_look_up_once_that_is_spent() {
    let (database, redis) = (TestDatabase::create().await, TestRedis::start().await);
    let builder = ServerBuilder::new(&database)
        .redis(&redis)
        .env("RATE_LIMIT_REQUESTS_PER_MINUTE", "10")
        .env("RATE_LIMIT_BURST_SIZE", "0")
        .env("RATE_LIMIT_TENANT_REQUESTS_PER_MINUTE", "1000");
    let server = builder.start().await;
    // Each of them spends one of the address's.
    let client = server.operator().await;
    let key = Key::make(&client).await;
    key.at(&server).get("/v1/agents").await.ok();
    let (of_user, of_tenant) = (counted(&redis, "user").await, counted(&redis, "tenant").await);
    assert_eq!((of_user, of_tenant, counted(&redis, "ip").await), (2, 2, 2));
    let invented = |number| server.anonymous().with_token(&key.invented(number));
    for number in 0..8 {
        assert_eq!(invented(number).get("/v1/agents").await.problem(401), "unauthenticated");
    }
    let asked = look_ups(&server).await;
    let (statuses, commands) = redis
        .commands_of(async {
            let mut statuses = Vec::new();
            for number in 100..150 {
                statuses.push(invented(number).get("/v1/agents").await.problem(429));
            }
            statuses
        })
        .await;
    assert!(statuses.iter().all(|code| code == "rate_limited"));
    assert!(commands.values().sum::<u64>() <= 6, "the first refusal alone is Redis': {commands:?}");
    assert!(!commands.contains_key("get"), "{commands:?}");
    assert_eq!(look_ups(&server).await, asked);
    assert_eq!((counted(&redis, "user").await, counted(&redis, "tenant").await), (of_user, of_tenant));
    // Who is known goes on, by its user's limits, whatever others do at its address.
    for left in (0..8).rev() {
        let answer = key.at(&server).get("/v1/agents").await;
        assert_eq!((answer.status.as_u16(), answer.header("x-ratelimit-remaining")), (200, left.to_string().as_str()));
    }
    let refused = key.at(&server).get("/v1/agents").await;
    assert_eq!((refused.problem(429), &refused.json()["violated-policies"]), ("rate_limited".to_owned(), &json!(["default"])));
    assert_eq!(client.get("/v1/agents").await.problem(429), "rate_limited", "a user's keys and sessions are counted together");
}

#[tokio::test]
async fn a_revoked_key_spends_its_addresss_limit_again() {
    let (database, redis) = (TestDatabase::create().await, TestRedis::start().await);
    let server = ServerBuilder::new(&database).redis(&redis).start().await;
    let client = server.operator().await;
    let key = Key::make(&client).await;
    key.at(&server).get("/v1/agents").await.ok();
    client.delete(&key.path).await.ok();
    let of_user = counted(&redis, "user").await;
    for _ in 0..3 {
        assert_eq!(key.at(&server).get("/v1/agents").await.problem(401), "unauthenticated");
    }
    assert_eq!(counted(&redis, "user").await, of_user);
}

#[tokio::test]
async fn a_request_by_a_known_key_costs_three_commands_and_one_round_trip() {
    let (database, redis) = (TestDatabase::create().await, TestRedis::start().await);
    let upstash = Upstash::start(&redis).await;
    let native = ServerBuilder::new(&database).redis(&redis);
    let rest = ServerBuilder::new(&database).upstash(&upstash).env("REDIS_COMMAND_TIMEOUT", "20s");
    for (protocol, builder) in [("native", native), ("rest", rest)] {
        redis::cmd("FLUSHALL").query_async::<()>(&mut redis.connect().await).await.expect("flushed");
        let server = builder.start().await;
        let key = Key::make(&server.operator().await).await;
        let machine = key.at(&server);
        // What it is checked against is known for some seconds: as many as ten requests take, where the machine is not busy.
        let commands = eventually("ten requests within those seconds", || async {
            machine.get("/v1/agents").await.ok();
            let kept = eventually("it is kept", || async {
                let metrics = server.anonymous().get("/metrics").await.text;
                ["api_key", "user_access", "tenant_access"]
                    .iter()
                    .all(|kind| metrics.contains(&format!("agentapi_cache_fills_total{{kind=\"{kind}\",result=\"stored\"}}")))
                    .then_some(())
            });
            kept.await;
            upstash.take_seen();
            let asked = look_ups(&server).await;
            let requests = async {
                for _ in 0..10 {
                    machine.get("/v1/agents").await.ok();
                }
            };
            let commands = redis.commands_of(requests).await.1;
            (look_ups(&server).await == asked).then_some(commands)
        })
        .await;
        assert_eq!(commands.values().sum::<u64>(), 30, "{protocol}: {commands:?}");
        if protocol == "rest" {
            let seen: Vec<usize> = upstash.take_seen().iter().map(|seen| seen.commands.len()).collect();
            assert_eq!(seen, [1; 10], "one HTTP request with one command each");
        }
    }
}
