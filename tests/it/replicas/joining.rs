//! A server that was alone until a moment ago.

use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use sqlx::PgConnection;

use super::Fleet;
use crate::support::{Server, eventually, free_port};

/// What one server is known to live by.
struct Lease {
    key: String,
    redis: MultiplexedConnection,
}

impl Lease {
    /// That of the first server of a fleet, which is alone, with a heartbeat of so many seconds.
    async fn of_a_lone_server(fleet: &Fleet, heartbeat: u64) -> (Server, Self) {
        let server = fleet.builders[0].start().await;
        let members = fleet.members().await;
        let [id] = members.as_slice() else { panic!("it is alone, and not {members:?}") };
        let lease = Self { key: format!("replica:{id}"), redis: fleet.redis.connect().await };
        assert!(lease.lasts().await > Duration::from_secs(heartbeat * 6), "who is alone is seldom heard of");
        (server, lease)
    }

    async fn lasts(&self) -> Duration {
        let left: i64 = redis::cmd("PTTL").arg(&self.key).query_async(&mut self.redis.clone()).await.expect("a time");
        Duration::from_millis(u64::try_from(left).expect("it is there, and ends"))
    }

    async fn lasts_at_most(&self, heartbeats: u32, heartbeat: u64) {
        eventually("its lease lasts as usual", || async {
            (self.lasts().await <= Duration::from_secs(heartbeat) * heartbeats).then_some(())
        })
        .await;
    }
}

/// Cuts the connections on which servers listen, of which there is one at least.
async fn cut_listeners(connection: &mut PgConnection) -> Option<()> {
    let cut: Vec<bool> = sqlx::query_scalar(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%'",
    )
    .fetch_all(connection)
    .await
    .expect("activity");
    (!cut.is_empty()).then_some(())
}

#[tokio::test]
async fn is_missed_as_soon_as_any_other_once_there_is_another() {
    let fleet = Fleet::make().await.env("AGENTAPI_HEARTBEAT_INTERVAL", "60s");
    let (_a, lease) = Lease::of_a_lone_server(&fleet, 60).await;
    let _b = fleet.builders[1].start().await;
    lease.lasts_at_most(3, 60).await;
    // Who joins is not alone either, from its first sign of life on.
    for id in fleet.members().await {
        let lease = Lease { key: format!("replica:{id}"), redis: fleet.redis.connect().await };
        assert!(lease.lasts().await <= Duration::from_secs(180));
    }
}

#[tokio::test]
async fn finds_the_other_also_if_it_did_not_hear_of_it() {
    let fleet = Fleet::make().await.env("AGENTAPI_HEARTBEAT_INTERVAL", "60s");
    let (_a, lease) = Lease::of_a_lone_server(&fleet, 60).await;
    let mut connection = fleet.database.connect().await;
    // Written, and told nobody.
    sqlx::query("INSERT INTO replicas (id, url) VALUES (gen_random_uuid(), 'http://127.0.0.1:9')")
        .execute(&mut connection)
        .await
        .expect("written");
    let connection = tokio::sync::Mutex::new(connection);
    eventually("it listens", || async { cut_listeners(&mut *connection.lock().await).await }).await;
    lease.lasts_at_most(3, 60).await;
}

#[tokio::test]
async fn is_never_without_a_lease_when_it_is_alone_again() {
    let fleet = Fleet::make().await.env("AGENTAPI_HEARTBEAT_INTERVAL", "1s");
    let (_a, lease) = Lease::of_a_lone_server(&fleet, 1).await;
    let b = fleet.builders[1].start().await;
    lease.lasts_at_most(3, 1).await;
    assert_eq!(b.terminate().await, Some(0));
    eventually("it is alone", || async { (lease.lasts().await > Duration::from_secs(6)).then_some(()) }).await;
}

#[tokio::test]
async fn is_found_dead_if_it_dies_right_after_the_other_came() {
    let fleet = Fleet::make().await.env("AGENTAPI_HEARTBEAT_INTERVAL", "3s");
    let start = Instant::now();
    let (a, lease) = Lease::of_a_lone_server(&fleet, 3).await;
    let client = a.operator().await;
    let agent = client.start_echo_agent().await;
    let b = fleet.builders[1].start().await;
    lease.lasts_at_most(3, 3).await;
    assert!(start.elapsed() < Duration::from_secs(3 * 8), "long before its own turn");
    a.kill().await;
    client.at(&b).in_state(&agent, "lost").await;
}

#[tokio::test]
async fn livez_answers_only_for_its_own_id() {
    let fleet = Fleet::make().await;
    let server = fleet.builders[0].start().await;
    let id = fleet.members().await[0];
    let anybody = server.anonymous();
    assert_eq!(anybody.get(&format!("/livez?replica={id}")).await.text, "ok");
    assert_eq!(anybody.get(&format!("/livez?replica={}", uuid::Uuid::now_v7())).await.problem(404), "not_found");
    assert_eq!(anybody.get("/livez?replica=x").await.problem(422), "validation_failed");
}

#[tokio::test]
async fn failed_server_is_noticed_at_a_reused_address() {
    let mut fleet = Fleet::make().await;
    let port = free_port().to_string();
    for builder in &mut fleet.builders[1..] {
        *builder = builder.clone().env("AGENTAPI_PORT", &port);
    }
    let (a, b) = (fleet.builders[0].start().await, fleet.builders[1].start().await);
    let client = a.operator().await;
    let agent = client.at(&b).start_echo_agent().await;
    b.kill().await;
    let _c = fleet.builders[2].start().await;
    client.in_state(&agent, "lost").await;
}
