//! Throwing somebody out where nothing helps: the index of its sessions is gone, or nobody was there to hear of it.

use sqlx::Executor;

use crate::support::{Client, Server, ServerBuilder, TestDatabase, TestRedis, eventually};

const PASSWORD: &str = "their password";

/// The ways to throw Ada of `acme` out, each with what undoes it.
const WAYS: [(&[&str], &[&str]); 3] = [
    (&["user", "disable", "acme", "ada@x.example"], &["user", "enable", "acme", "ada@x.example"]),
    (&["tenant", "suspend", "acme"], &["tenant", "resume", "acme"]),
    (&["user", "passwd", "acme", "ada@x.example"], &["user", "list", "acme"]),
];

/// A server's settings, with a tenant `acme` and a user Ada.
async fn acme(builder: &ServerBuilder) {
    builder.done(&["tenant", "create", "acme"], "").await;
    builder.done(&["user", "create", "acme", "ada@x.example"], &format!("{PASSWORD}\n")).await;
}

async fn ada(server: &Server) -> Client {
    server.anonymous().log_in("acme", "ada@x.example", PASSWORD).await
}

/// As an eviction does: sessions live on, for they are used, and their index is gone.
async fn lose_indexes(redis: &TestRedis) {
    let mut connection = redis.connect().await;
    let keys: Vec<String> = redis::cmd("KEYS").arg("user_sessions:*").query_async(&mut connection).await.expect("keys");
    let lost: usize = redis::cmd("DEL").arg(&keys).query_async(&mut connection).await.expect("deleted");
    assert!(lost > 0);
}

/// Waits until so many servers listen.
async fn listening(database: &TestDatabase, servers: usize) {
    let listening = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%'";
    eventually("they listen", || async {
        let listeners = database.connect().await.fetch_all(listening).await.expect("asked");
        (listeners.len() == servers).then_some(())
    })
    .await;
}

#[tokio::test]
async fn who_is_thrown_out_is_out_though_the_index_was_evicted() {
    let (database, redis) = (TestDatabase::create().await, TestRedis::start().await);
    let builder = ServerBuilder::new(&database).redis(&redis).env("TOKEN_ENCRYPTION_KEY", &"e".repeat(64));
    let (one, two) = (builder.start().await, builder.sibling().start().await);
    acme(&builder).await;
    listening(&database, 2).await;
    for (way, undo) in WAYS {
        let (here, there, other) = (ada(&one).await, ada(&two).await, one.operator().await);
        lose_indexes(&redis).await;
        assert_eq!((here.session_status().await, there.session_status().await), (200, 200));
        builder.done(way, &format!("{PASSWORD}\n")).await;
        for client in [&here, &there.at(&one), &there, &here.at(&two)] {
            client.session_ends().await;
        }
        assert_eq!(other.session_status().await, 200, "{way:?}");
        builder.done(undo, "").await;
        assert_eq!(
            (here.session_status().await, there.session_status().await),
            (401, 401),
            "what was ended stays ended: {way:?}"
        );
        assert_eq!(ada(&one).await.session_status().await, 200, "who may log in again is in: {way:?}");
    }
}

#[tokio::test]
async fn who_is_thrown_out_while_no_server_runs_is_out_when_one_does() {
    let (database, redis) = (TestDatabase::create().await, TestRedis::start().await);
    let builder = ServerBuilder::new(&database).redis(&redis).env("TOKEN_ENCRYPTION_KEY", &"e".repeat(64));
    drop(builder.start().await);
    acme(&builder).await;
    for (way, undo) in WAYS {
        let server = builder.start().await;
        let (client, other) = (ada(&server).await, server.operator().await);
        assert_eq!(client.session_status().await, 200);
        assert_eq!(server.terminate().await, Some(0));
        // The command's environment does not name the Redis.
        let out = ServerBuilder::new(&database).done(way, &format!("{PASSWORD}\n")).await;
        assert!(out.contains("servers that run now or later refuse"), "{out}");
        builder.done(undo, "").await;
        let server = builder.start().await;
        assert_eq!(client.at(&server).session_status().await, 401, "at the first request: {way:?}");
        assert_eq!((other.at(&server).session_status().await, ada(&server).await.session_status().await), (200, 200), "{way:?}");
        assert_eq!(server.terminate().await, Some(0));
    }
}

#[tokio::test]
async fn a_server_on_redis_that_could_not_listen_finds_out_later() {
    let (database, redis) = (TestDatabase::create().await, TestRedis::start().await);
    let builder = ServerBuilder::new(&database).redis(&redis);
    let server = builder.start().await;
    acme(&builder).await;
    let (client, other) = (ada(&server).await, server.operator().await);
    listening(&database, 1).await;
    lose_indexes(&redis).await;
    // The change is made where no listener is told: as when the telling is lost with the connection.
    let mut connection = database.connect().await;
    connection.execute("ALTER FUNCTION pg_notify(text, text) RENAME TO pg_notify_real").await.expect("renamed");
    let mute = "CREATE FUNCTION pg_notify(text, text) RETURNS void LANGUAGE sql AS ''";
    connection.execute(mute).await.expect("made");
    ServerBuilder::new(&database).done(&["user", "disable", "acme", "ada@x.example"], "").await;
    assert_eq!(client.session_status().await, 200);
    let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
               WHERE datname = current_database() AND query LIKE 'LISTEN%'";
    connection.execute(cut).await.expect("cut");
    client.session_ends().await;
    assert_eq!(other.session_status().await, 200);
}

#[tokio::test]
async fn a_user_ends_its_other_sessions_though_the_index_was_evicted() {
    let (database, redis) = (TestDatabase::create().await, TestRedis::start().await);
    let builder = ServerBuilder::new(&database).redis(&redis).env("TOKEN_ENCRYPTION_KEY", &"e".repeat(64));
    let (one, two) = (builder.start().await, builder.sibling().start().await);
    acme(&builder).await;
    listening(&database, 2).await;
    let (own, stolen, bystander) = (ada(&one).await, ada(&two).await, one.operator().await);
    lose_indexes(&redis).await;
    assert_eq!(own.delete("/v1/auth/sessions").await.status, 204);
    assert_eq!(stolen.at(&one).session_status().await, 401, "at once, where it was asked for");
    stolen.session_ends().await;
    for client in [&own, &own.at(&two), &bystander, &ada(&one).await] {
        assert_eq!(client.session_status().await, 200);
    }
    // The one that was spared is not spared by the next, nor by a new password.
    let newer = ada(&two).await;
    lose_indexes(&redis).await;
    assert_eq!(newer.delete("/v1/auth/sessions").await.status, 204);
    own.session_ends().await;
    own.at(&two).session_ends().await;
    assert_eq!((newer.session_status().await, newer.at(&one).session_status().await), (200, 200));
    builder.done(&["user", "passwd", "acme", "ada@x.example"], &format!("{PASSWORD}\n")).await;
    newer.session_ends().await;
    newer.at(&one).session_ends().await;
}

#[tokio::test]
async fn who_logs_out_is_out_though_it_cannot_be_written_down() {
    let database = TestDatabase::create().await;
    let builder = ServerBuilder::new(&database);
    let server = builder.start().await;
    let (one, two, three) = (server.operator().await, server.operator().await, server.operator().await);
    let id = two.get("/v1/auth/session").await.ok()["session"]["id"].as_str().expect("an id").to_owned();
    let mut connection = database.connect().await;
    connection.execute("REVOKE INSERT ON audit_entries FROM agentapi_app").await.expect("revoked");
    assert_eq!(one.delete(&format!("/v1/auth/sessions/{id}")).await.status, 204);
    assert_eq!(one.post_nothing("/v1/auth/logout").await.status, 204);
    assert_eq!((one.session_status().await, two.session_status().await, three.session_status().await), (401, 401, 200));
    assert_eq!(builder.logged().matches("is not in the audit log").count(), 2);
    // Ending all others is written down with the count that ends them: all of it, or nothing.
    assert_eq!(three.delete("/v1/auth/sessions").await.status.as_u16(), 500);
    connection.execute("GRANT INSERT ON audit_entries TO agentapi_app").await.expect("granted");
    assert_eq!(three.delete("/v1/auth/sessions").await.status, 204);
    // What could not be written is written once it can be.
    eventually("both are in the audit log", || async {
        let written = "SELECT count(*) FROM ended_sessions JOIN audit_entries ON subject = replace(session_id::text, '-', '')
                       WHERE action = 'session.end'";
        let written: i64 = sqlx::query_scalar(written).fetch_one(&mut database.connect().await).await.expect("a count");
        (written == 2).then_some(())
    })
    .await;
}
