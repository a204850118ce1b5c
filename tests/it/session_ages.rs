//! Which session is the oldest, and how long it may live, when `SESSION_ABSOLUTE_TTL` is changed between.

use std::time::Duration;

use crate::support::{Server, ServerBuilder, TestDatabase, TestRedis, eventually};

/// The server anew, with sessions that may live that long.
async fn restart(server: Server, builder: &ServerBuilder, ttl: &str) -> Server {
    assert_eq!(server.terminate().await, Some(0));
    builder.clone().env("SESSION_ABSOLUTE_TTL", ttl).start().await
}

#[tokio::test]
async fn with_a_shorter_life_for_new_ones_the_oldest_session_still_ends_first() {
    let (database, redis) = (TestDatabase::create().await, TestRedis::start().await);
    let builder = ServerBuilder::new(&database).redis(&redis).env("SESSION_MAX_PER_USER", "2");
    let server = builder.clone().env("SESSION_ABSOLUTE_TTL", "10h").start().await;
    let (one, two) = (server.operator().await, server.operator().await);
    let server = restart(server, &builder, "2h").await;
    let three = server.operator().await;
    assert_eq!(
        [one.at(&server).session_status().await, two.at(&server).session_status().await, three.session_status().await],
        [401, 200, 200]
    );
    let four = server.operator().await;
    assert_eq!(
        [two.at(&server).session_status().await, three.session_status().await, four.session_status().await],
        [401, 200, 200]
    );
}

#[tokio::test]
async fn a_longer_life_for_new_ones_lengthens_no_session_that_began_before() {
    let (database, redis) = (TestDatabase::create().await, TestRedis::start().await);
    let builder = ServerBuilder::new(&database).redis(&redis).env("SESSION_TTL", "3s");
    let server = builder.clone().env("SESSION_ABSOLUTE_TTL", "3s").start().await;
    let client = server.operator().await;
    let server = restart(server, &builder, "1h").await;
    let client = client.at(&server);
    // While it is used, it is listed, counted and can be ended, up to the end that it was given.
    eventually("it ends", || async {
        let listed = client.get("/v1/auth/sessions").await;
        if listed.status == 200 && listed.json()["items"] == serde_json::json!([]) {
            assert_eq!(client.session_status().await, 401, "its end came between the gate and the list");
        }
        (listed.status == 401).then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_index_lives_as_long_as_any_session_it_names() {
    let (database, redis) = (TestDatabase::create().await, TestRedis::start().await);
    let builder = ServerBuilder::new(&database).redis(&redis);
    let server = builder.clone().env("SESSION_ABSOLUTE_TTL", "10h").start().await;
    server.operator().await;
    let server = restart(server, &builder, "2h").await;
    server.operator().await;
    let mut connection = redis.connect().await;
    let keys: Vec<String> = redis::cmd("KEYS").arg("user_sessions:*").query_async(&mut connection).await.expect("keys");
    let left: u64 = redis::cmd("TTL").arg(&keys[0]).query_async(&mut connection).await.expect("a life");
    assert!(Duration::from_secs(left) > Duration::from_hours(9), "{left}");
    drop(server);
}
