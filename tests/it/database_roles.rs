//! Which roles `DATABASE_URL` may name: none of them needs to be a superuser.

use crate::support::{ServerBuilder, TestDatabase, TestPostgres};

/// A server migrates `database`, lets its operator in, and tells other servers of what changes.
async fn serves(database: &TestDatabase) {
    let builder = ServerBuilder::new(database);
    let server = builder.start().await;
    let client = server.operator().await;
    let agent = client.start_echo_agent().await;
    client.say(&agent, "hello").await;
    builder.done(&["user", "passwd", "default", "admin@localhost"], "another password").await;
    assert_eq!(server.terminate().await, Some(0));
}

#[tokio::test]
async fn an_owner_of_the_database_that_may_make_roles_makes_the_servers() {
    let postgres = TestPostgres::start().await;
    serves(&postgres.database_of("maker", &["CREATE ROLE maker LOGIN CREATEROLE"]).await).await;
}

#[tokio::test]
async fn an_owner_of_the_database_that_was_given_the_servers_role_makes_none() {
    let postgres = TestPostgres::start().await;
    let roles = ["CREATE ROLE agentapi_app", "CREATE ROLE member LOGIN", "GRANT agentapi_app TO member"];
    serves(&postgres.database_of("member", &roles).await).await;
}

#[tokio::test]
async fn an_owner_of_the_database_that_may_do_neither_is_told() {
    let postgres = TestPostgres::start().await;
    let database = postgres.database_of("nobody_special", &["CREATE ROLE nobody_special LOGIN"]).await;
    let (code, _, error) = ServerBuilder::new(&database).run(&["migrate"], "").await;
    assert_eq!(code, Some(1));
    assert!(error.contains("permission denied to create role"), "{error}");
}
