//! How sessions end, other than by their users: too many, too old, and by command.

use std::str::FromStr;
use std::time::{Duration, Instant};

use agentapi::domain::{Email, PasswordHash, SessionId, TenantId, TenantScope, User, UserRole};
use agentapi::postgres::{Database, NewUser};
use chrono::{DateTime, TimeDelta, Utc};
use sqlx::postgres::PgConnectOptions;
use sqlx::{Executor, Row};

use crate::support::{Client, PASSWORD, Server, ServerBuilder, TestDatabase, TestRedis, eventually};

const EMAIL: &str = "admin@localhost";

/// A server with in-process sessions, and one with sessions in Redis.
fn both(database: &TestDatabase, redis: &TestRedis) -> [ServerBuilder; 2] {
    [ServerBuilder::new(database).env("SESSION_STORAGE", "memory").redis(redis), ServerBuilder::new(database).redis(redis)]
}

async fn refused(server: &Server, tenant: &str, email: &str, password: &str) {
    let body = serde_json::json!({"tenant": tenant, "email": email, "password": password});
    let answer = server.anonymous().post("/v1/auth/login", body).await;
    assert_eq!(answer.problem(401), "invalid_credentials");
}

#[tokio::test]
async fn one_session_too_many_ends_the_oldest() {
    let (database, redis) = (TestDatabase::create().await, TestRedis::start().await);
    for builder in both(&database, &redis) {
        let server = builder.env("SESSION_MAX_PER_USER", "2").start().await;
        let (one, two, three) = (server.operator().await, server.operator().await, server.operator().await);
        assert_eq!((one.session_status().await, two.session_status().await, three.session_status().await), (401, 200, 200));
        assert_eq!(two.get("/v1/auth/sessions").await.ok()["items"].as_array().expect("items").len(), 2);
    }
}

/// How long after its beginning a session ends, by what its user is told; nothing if it has ended.
async fn life(client: &Client) -> Option<TimeDelta> {
    let answer = client.get("/v1/auth/session").await;
    let time = |name: &str| answer.json()["session"][name].as_str().expect("a time").parse::<DateTime<Utc>>().expect("a time");
    (answer.status == 200).then(|| time("expires_at") - time("created_at"))
}

#[tokio::test]
async fn no_use_extends_a_session_past_its_absolute_end() {
    let (database, redis) = (TestDatabase::create().await, TestRedis::start().await);
    for builder in both(&database, &redis) {
        let server = builder.env("SESSION_TTL", "2s").env("SESSION_ABSOLUTE_TTL", "3s").start().await;
        let client = server.operator().await;
        let longest = eventually("its life is extended as far as may be", || async {
            let life = life(&client).await;
            (life.is_none() || life >= Some(TimeDelta::seconds(3))).then_some(life)
        });
        assert_eq!(longest.await, Some(TimeDelta::seconds(3)), "past its idle life, up to its absolute end");
        client.session_ends().await;
    }
}

#[tokio::test]
async fn a_new_password_ends_all_sessions_of_the_user_and_no_others() {
    let (database, redis) = (TestDatabase::create().await, TestRedis::start().await);
    for (builder, email) in both(&database, &redis).into_iter().zip(["ada@localhost", "eve@localhost"]) {
        let server = builder.start().await;
        builder.done(&["user", "create", "default", email], "first password\n").await;
        let (one, two) = (
            server.anonymous().log_in("default", email, "first password").await,
            server.anonymous().log_in("default", email, "first password").await,
        );
        let other = server.operator().await;
        builder.done(&["user", "passwd", "default", email], "second password\n").await;
        // Logged in again at once: this one is newer than the change, whenever the server hears of it.
        let again = server.anonymous().log_in("default", email, "second password").await;
        one.session_ends().await;
        two.session_ends().await;
        assert_eq!((again.session_status().await, other.session_status().await), (200, 200));
    }
}

#[tokio::test]
async fn a_disabled_user_is_out_until_it_is_enabled() {
    let (database, redis) = (TestDatabase::create().await, TestRedis::start().await);
    for builder in both(&database, &redis) {
        let server = builder.start().await;
        let client = server.operator().await;
        let agent = client.start_echo_agent().await;
        let mut events = client.events(&agent).await;
        let begun = Instant::now();
        let out = builder.done(&["user", "disable", "default", EMAIL], "").await;
        assert!(out.contains("is disabled"), "{out}");
        while events.next().await.is_some() {}
        assert!(begun.elapsed() < Duration::from_secs(25), "its event stream ends at once, not when it is next verified");
        client.session_ends().await;
        refused(&server, "default", EMAIL, PASSWORD).await;
        assert!(builder.done(&["user", "list", "default"], "").await.contains("\toperator\tdisabled"));
        // Again: who repeats a command that was cut off gets what it wanted.
        builder.done(&["user", "disable", "default", EMAIL], "").await;
        builder.done(&["user", "enable", "default", EMAIL], "").await;
        assert_eq!(server.operator().await.session_status().await, 200);
        assert_eq!(client.session_status().await, 401, "what was ended stays ended");
        let (code, _, error) = builder.run(&["user", "disable", "default", "nobody@localhost"], "").await;
        assert_eq!((code, error.contains("has no user nobody@localhost")), (Some(1), true), "{error}");
    }
}

#[tokio::test]
async fn a_suspended_tenant_is_out_and_others_are_not() {
    let (database, redis) = (TestDatabase::create().await, TestRedis::start().await);
    for (builder, tenant) in both(&database, &redis).into_iter().zip(["acme", "umbrella"]) {
        let server = builder.start().await;
        builder.done(&["tenant", "create", tenant], "").await;
        for email in ["ada@x.example", "bob@x.example"] {
            builder.done(&["user", "create", tenant, email], "their password\n").await;
        }
        let ada = server.anonymous().log_in(tenant, "ada@x.example", "their password").await;
        let bob = server.anonymous().log_in(tenant, "bob@x.example", "their password").await;
        let operator = server.operator().await;
        builder.done(&["tenant", "suspend", tenant], "").await;
        ada.session_ends().await;
        bob.session_ends().await;
        refused(&server, tenant, "ada@x.example", "their password").await;
        assert_eq!(operator.session_status().await, 200);
        assert!(builder.done(&["tenant", "list"], "").await.lines().any(|line| line.ends_with(&format!("{tenant}\tsuspended"))));
        builder.done(&["tenant", "resume", tenant], "").await;
        let again = server.anonymous().log_in(tenant, "ada@x.example", "their password").await;
        assert_eq!((again.session_status().await, ada.session_status().await), (200, 401));
    }
}

#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "the test is its tenant's only caller")]
async fn a_log_in_that_is_overtaken_is_noticed() {
    let test = TestDatabase::create().await;
    let options = PgConnectOptions::from_str(test.url()).expect("a URL of ours");
    Database::migrate(&options).await.expect("migrated");
    let database = Database::new(options, 2, Duration::from_secs(5));
    let (scope, email): (_, Email) = (TenantScope::assume_verified(TenantId::new()), EMAIL.parse().expect("an address"));
    database.tenants().insert(scope, &"acme".parse().expect("a slug"), "Acme").await.expect("inserted");
    let users = database.users(scope);
    let password = PasswordHash::from_phc("a hash".to_owned());
    users.insert(&NewUser { email: email.clone(), password: password.clone(), role: UserRole::Member }).await.expect("inserted");
    let read = async || users.credentials(&email).await.expect("read").expect("is there").user;
    let record = async |user: &User| users.record_login(user, SessionId::random()).await.expect("asked");
    let user = read().await;
    assert!(record(&user).await);
    users.set_password(&email, &password).await.expect("changed");
    assert!(!record(&user).await, "the password was changed after it was read");
    let user = read().await;
    users.disable(&email).await.expect("disabled");
    assert!(!record(&user).await && !record(&read().await).await, "disabled");
    users.enable(&email).await.expect("enabled");
    let user = read().await;
    assert!(record(&user).await);
    database.tenants().suspend(scope).await.expect("suspended");
    assert!(!record(&user).await && !record(&read().await).await, "suspended");
    database.tenants().resume(scope).await.expect("resumed");
    assert!(record(&read().await).await);
    let written = "SELECT count(*) FROM audit_entries WHERE action = 'session.login'";
    let written: i64 = test.connect().await.fetch_one(written).await.expect("counted").get(0);
    assert_eq!(written, 3);
}

#[tokio::test]
async fn a_server_that_could_not_listen_finds_out_later() {
    let database = TestDatabase::create().await;
    let builder = ServerBuilder::new(&database);
    let server = builder.start().await;
    let client = server.operator().await;
    let mut connection = database.connect().await;
    let listening = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%'";
    eventually("it listens", || async {
        let mut own = database.connect().await;
        own.fetch_optional(listening).await.expect("asked").map(|_| ())
    })
    .await;
    // A change that nobody was told of, as when the telling is lost with the connection.
    let update = "UPDATE users SET disabled_at = now(), session_epoch = session_epoch + 1";
    connection.execute(update).await.expect("updated");
    assert_eq!(client.session_status().await, 200);
    let cut = format!("SELECT pg_terminate_backend(pid) FROM ({listening}) AS listeners");
    connection.execute(sqlx::AssertSqlSafe(cut)).await.expect("cut");
    client.session_ends().await;
    refused(&server, "default", EMAIL, PASSWORD).await;
}

#[tokio::test]
async fn whoever_has_no_redis_at_hand_still_ends_sessions_there() {
    let (database, redis) = (TestDatabase::create().await, TestRedis::start().await);
    let server = ServerBuilder::new(&database).redis(&redis).start().await;
    let client = server.operator().await;
    eventually("it listens", || async {
        let listening = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%'";
        database.connect().await.fetch_optional(listening).await.expect("asked").map(|_| ())
    })
    .await;
    // The command's environment does not name the Redis: the server hears of it from Postgres.
    ServerBuilder::new(&database).done(&["user", "disable", "default", EMAIL], "").await;
    client.session_ends().await;
}

#[tokio::test]
async fn a_command_says_so_when_sessions_in_redis_live_on() {
    let (database, mut redis) = (TestDatabase::create().await, TestRedis::start().await);
    let builder = ServerBuilder::new(&database).redis(&redis);
    let server = builder.start().await;
    let client = server.operator().await;
    drop(server);
    redis.kill();
    let (code, _, error) = builder.run(&["user", "disable", "default", EMAIL], "").await;
    assert_eq!((code, error.contains("in Redis still") && error.contains("again")), (Some(1), true), "{error}");
    redis.restart().await;
    let server = builder.start().await;
    builder.done(&["user", "disable", "default", EMAIL], "").await;
    assert_eq!(client.at(&server).session_status().await, 401);
}

#[tokio::test]
async fn what_is_done_to_users_and_tenants_is_written_down() {
    let database = TestDatabase::create().await;
    let builder = ServerBuilder::new(&database);
    drop(builder.start().await);
    for args in [
        &["user", "passwd", "default", EMAIL][..],
        &["user", "disable", "default", EMAIL],
        &["user", "enable", "default", EMAIL],
        &["tenant", "suspend", "default"],
        &["tenant", "resume", "default"],
    ] {
        builder.done(args, "another password\n").await;
    }
    let rows =
        database.connect().await.fetch_all("SELECT action, actor::text FROM audit_entries ORDER BY id").await.expect("rows");
    let actions: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    let expected = ["user.passwd", "user.disable", "user.enable", "tenant.suspend", "tenant.resume"];
    assert_eq!(actions[actions.len() - 5..], expected);
    assert!(rows.iter().all(|row| row.get::<Option<String>, _>(1).is_none()), "the command line is nobody");
}
