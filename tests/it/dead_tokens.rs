//! What a token is worth whose session is over: nothing, not even its user's limits.

use crate::support::{Client, Server, ServerBuilder, TestDatabase, TestRedis, eventually};

/// Requests that a user may make in the time of a test, and a tenant.
const LIMIT: &str = "10";

/// A server with in-process stores, and one on Redis; few requests are allowed.
fn both(database: &TestDatabase, redis: &TestRedis, limit: &str) -> [ServerBuilder; 2] {
    let builder =
        ServerBuilder::new(database).env("RATE_LIMIT_BURST_SIZE", "0").env("RATE_LIMIT_IP_REQUESTS_PER_MINUTE", "100000");
    let builder = builder.env(limit, LIMIT);
    [builder.clone(), builder.sibling().redis(redis)]
}

/// Shows a token of a session that is over, many times more than anybody may ask.
async fn flood(server: &Server, dead: &Client) {
    let dead = dead.at(server);
    for _ in 0..30 {
        assert_eq!(dead.get("/v1/agents").await.problem(401), "unauthenticated");
    }
}

#[tokio::test]
async fn a_dead_token_does_not_spend_its_users_limit() {
    let (database, redis) = (TestDatabase::create().await, TestRedis::start().await);
    for builder in both(&database, &redis, "RATE_LIMIT_REQUESTS_PER_MINUTE") {
        let server = builder.start().await;
        let (gone, lives) = (server.operator().await, server.operator().await);
        gone.post_nothing("/v1/auth/logout").await.ok();
        flood(&server, &gone).await;
        let answer = lives.get("/v1/agents").await;
        // The log-out, and this one.
        assert_eq!((answer.status.as_u16(), answer.header("x-ratelimit-remaining")), (200, "8"), "{answer:?}");
    }
}

#[tokio::test]
async fn a_dead_token_does_not_spend_its_tenants_limit() {
    let (database, redis) = (TestDatabase::create().await, TestRedis::start().await);
    for builder in both(&database, &redis, "RATE_LIMIT_TENANT_REQUESTS_PER_MINUTE") {
        let server = builder.start().await;
        let email = format!("{}@localhost", uuid::Uuid::now_v7().simple());
        builder.done(&["user", "create", "default", &email], "their password\n").await;
        let (gone, lives) = (server.anonymous().log_in("default", &email, "their password").await, server.operator().await);
        builder.done(&["user", "disable", "default", &email], "").await;
        eventually("it is out", || async { (gone.get("/v1/agents").await.status == 401).then_some(()) }).await;
        flood(&server, &gone).await;
        assert_eq!(lives.get("/v1/agents").await.status, 200, "another user of the tenant");
    }
}

#[tokio::test]
async fn a_dead_token_costs_redis_nothing_but_its_addresss_limit() {
    let (database, redis) = (TestDatabase::create().await, TestRedis::start().await);
    let server = ServerBuilder::new(&database).redis(&redis).start().await;
    let gone = server.operator().await;
    gone.post_nothing("/v1/auth/logout").await.ok();
    flood(&server, &gone).await;
    let commands = redis.commands_of(flood(&server, &gone)).await.1;
    assert_eq!(commands.get("getex"), None, "{commands:?}");
}
