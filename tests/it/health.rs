//! Health checks that many ask for at once.

use std::time::Instant;

use futures_util::future::join_all;

use crate::support::{ServerBuilder, TestDatabase, TestRedis, eventually};

#[tokio::test]
async fn status_asks_redis_once_a_second_for_all_callers() {
    let (database, redis) = (TestDatabase::create().await, TestRedis::start().await);
    let server = ServerBuilder::new(&database).redis(&redis).start().await;
    let client = server.anonymous();
    client.get("/status").await.ok();
    let begun = Instant::now();
    let (answers, commands) = redis.commands_of(join_all((0..300).map(|_| client.get("/status")))).await;
    let seconds = begun.elapsed().as_secs();
    assert!(answers.iter().all(|answer| answer.status == 200 && answer.header("cache-control") == "no-store"));
    let asked: u64 = commands.values().sum();
    // One check is two commands at most; the machine may be slow, so the count follows the time that it took.
    assert!(asked <= 2 * (seconds + 2), "{commands:?} in {seconds} s");
}

#[tokio::test]
async fn status_tells_of_a_failure_once_its_answer_is_old() {
    let (database, mut redis) = (TestDatabase::create().await, TestRedis::start().await);
    let server = ServerBuilder::new(&database).redis(&redis).start().await;
    server.anonymous().get("/status").await.ok();
    redis.kill();
    eventually("it tells of it", || async { (server.anonymous().get("/status").await.status == 503).then_some(()) }).await;
}

#[tokio::test]
async fn metrics_count_every_request_that_was_answered_before() {
    let server = ServerBuilder::new(&TestDatabase::create().await).start().await;
    let client = server.anonymous();
    for count in 1..=5 {
        assert_eq!(client.get("/livez").await.status, 200);
        let answers = join_all((0..10).map(|_| client.get("/metrics"))).await;
        let line = format!("agentapi_http_requests_total{{method=\"GET\",route=\"/livez\",status=\"200\"}} {count}");
        for answer in answers {
            assert!(answer.text.lines().any(|shown| shown == line), "{line}: {}", answer.text);
        }
    }
}
