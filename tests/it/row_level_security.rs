//! The second lock on the door between tenants: Postgres' own.

use sqlx::{Connection, Executor, PgConnection, Row};

use crate::support::{ServerBuilder, TestDatabase};

async fn migrated() -> TestDatabase {
    let database = TestDatabase::create().await;
    let status = ServerBuilder::new(&database).command(&["migrate"]).status().await.expect("the program starts");
    assert!(status.success());
    database
}

#[tokio::test]
async fn every_table_has_its_tenant_first_and_forced_row_level_security() {
    let mut connection = migrated().await.connect().await;
    let tables = connection
        .fetch_all(
            "SELECT c.relname, c.relrowsecurity, c.relforcerowsecurity,
                    (SELECT a.attname::text FROM pg_index i JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = i.indkey[0]
                     WHERE i.indrelid = c.oid AND i.indisprimary)
             FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
             WHERE n.nspname = 'public' AND c.relkind = 'r' AND c.relname <> '_sqlx_migrations'
             ORDER BY 1",
        )
        .await
        .expect("tables");
    let names: Vec<String> = tables.iter().map(|table| table.get(0)).collect();
    let expected = [
        "agents",
        "api_keys",
        "approvals",
        "audit_entries",
        "ended_sessions",
        "messages",
        "queued_messages",
        "replicas",
        "tenants",
        "timeline_entries",
        "users",
    ];
    assert_eq!(names, expected);
    // Which servers live concerns no tenant.
    for table in tables.iter().filter(|table| table.get::<String, _>(0) != "replicas") {
        let (name, enabled, forced, first): (String, bool, bool, String) =
            (table.get(0), table.get(1), table.get(2), table.get(3));
        assert!(enabled && forced, "{name}");
        assert_eq!(first, if name == "tenants" { "id" } else { "tenant_id" }, "{name}");
    }
}

#[tokio::test]
async fn the_servers_role_can_bypass_nothing() {
    let mut connection = migrated().await.connect().await;
    let role = connection
        .fetch_one("SELECT rolsuper, rolbypassrls, rolcreaterole, rolcanlogin FROM pg_roles WHERE rolname = 'agentapi_app'")
        .await
        .expect("the role");
    for right in 0..4 {
        assert!(!role.get::<bool, _>(right));
    }
    let owned = connection.fetch_all("SELECT 1 FROM pg_tables WHERE tableowner = 'agentapi_app'").await.expect("tables");
    assert!(owned.is_empty());
}

#[tokio::test]
async fn without_a_tenant_there_are_no_rows_and_a_tenant_sees_only_its_own() {
    let database = migrated().await;
    let mut connection = database.connect().await;
    let (ours, theirs) = ("01900000-0000-7000-8000-000000000001", "01900000-0000-7000-8000-000000000002");
    for (tenant, slug) in [(ours, "ours"), (theirs, "theirs")] {
        for statement in [
            format!("INSERT INTO tenants (id, slug, name) VALUES ('{tenant}', '{slug}', '{slug}')"),
            format!(
                "INSERT INTO users (tenant_id, id, email, password_hash, role) VALUES ('{tenant}', '{tenant}', 'a@b', 'x', 'member')"
            ),
        ] {
            connection.execute(sqlx::AssertSqlSafe(statement)).await.expect("inserted");
        }
    }
    connection.execute("SET ROLE agentapi_app").await.expect("the role");
    assert_eq!(count(&mut connection).await, 0);
    let mut transaction = connection.begin().await.expect("begins");
    transaction.execute(sqlx::AssertSqlSafe(format!("SELECT set_config('app.tenant_id', '{ours}', TRUE)"))).await.expect("set");
    assert_eq!(count(&mut transaction).await, 1);
    let stolen =
        transaction.execute(sqlx::AssertSqlSafe(format!("UPDATE users SET email = 'x@y' WHERE tenant_id = '{theirs}'"))).await;
    assert_eq!(stolen.expect("runs").rows_affected(), 0);
    let planted = format!(
        "INSERT INTO users (tenant_id, id, email, password_hash, role) VALUES ('{theirs}', '{ours}', 'c@d', 'x', 'member')"
    );
    let refused = transaction.execute(sqlx::AssertSqlSafe(planted)).await.expect_err("refused").to_string();
    assert!(refused.contains("row-level security"), "{refused}");
    drop(transaction);
    // Once a pooled connection has had a tenant, having none again must not be an error.
    assert_eq!(count(&mut connection).await, 0);
    assert!(connection.execute("DELETE FROM audit_entries").await.is_err(), "the audit trail can only grow");
}

#[tokio::test]
async fn a_server_that_acts_for_its_agents_sees_those_of_no_other() {
    let database = TestDatabase::create().await;
    let server = ServerBuilder::new(&database).start().await;
    let client = server.operator().await;
    client.start_echo_agent().await;
    let mut connection = database.connect().await;
    connection.execute("SET ROLE agentapi_app").await.expect("may become it");
    let own: String = connection.fetch_one("SELECT id::text FROM replicas").await.expect("it has joined").get(0);
    let count = "SELECT count(*) FROM agents";
    for (replica, agents) in [("", 0_i64), (own.as_str(), 1), ("00000000-0000-0000-0000-000000000001", 0)] {
        connection.execute(sqlx::AssertSqlSafe(format!("SET app.replica_id = '{replica}'"))).await.expect("set");
        assert_eq!(connection.fetch_one(count).await.expect("counted").get::<i64, _>(0), agents, "{replica:?}");
    }
}

async fn count(connection: &mut PgConnection) -> i64 {
    connection.fetch_one("SELECT count(*) FROM users").await.expect("counted").get(0)
}

#[tokio::test]
async fn servers_that_start_together_migrate_once() {
    let database = TestDatabase::create().await;
    let builder = ServerBuilder::new(&database);
    let starts = (0..3).map(|_| {
        let mut command = builder.command(&["migrate"]);
        async move { command.status().await.expect("the program starts").success() }
    });
    assert_eq!(futures_util::future::join_all(starts).await, [true, true, true]);
}
