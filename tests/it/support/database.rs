//! A database of a test's own.

use std::path::Path;
use std::process::Stdio;
use std::str::FromStr;

use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use super::PATIENCE;

/// An empty database in the Postgres that the tests share. It goes with that Postgres.
pub(crate) struct TestDatabase {
    url: url::Url,
}

impl TestDatabase {
    pub(crate) async fn create() -> Self {
        let shared = std::env::var("AGENTAPI_TEST_DATABASE_URL").expect("AGENTAPI_TEST_DATABASE_URL is set: run `make test`");
        let mut url = url::Url::parse(&shared).expect("AGENTAPI_TEST_DATABASE_URL is a URL");
        let name = format!("test_{}", uuid::Uuid::now_v7().simple());
        let mut connection = PgConnection::connect(&shared).await.expect("the shared Postgres answers");
        connection.execute(AssertSqlSafe(format!("CREATE DATABASE {name}"))).await.expect("a database can be made");
        url.set_path(&name);
        Self { url }
    }

    pub(crate) fn url(&self) -> &str {
        self.url.as_str()
    }

    /// A connection with the rights of the Postgres' owner.
    pub(crate) async fn connect(&self) -> PgConnection {
        let options = PgConnectOptions::from_str(self.url()).expect("a URL of ours");
        PgConnection::connect_with(&options).await.expect("the database answers")
    }
}

/// A Postgres of a test's own: roles belong to all of a Postgres. It is stopped when its owner's standard input ends, with the test.
pub(crate) struct TestPostgres {
    url: url::Url,
    _owner: Child,
}

impl TestPostgres {
    pub(crate) async fn start() -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/with-test-servers.sh");
        let mut command = Command::new(script);
        command.args(["sh", "-c", "echo \"$AGENTAPI_TEST_DATABASE_URL\"; exec cat"]).env_remove("AGENTAPI_TEST_DATABASE_URL");
        let mut owner = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("bash is installed");
        let mut said = BufReader::new(owner.stdout.take().expect("piped")).lines();
        let url = tokio::time::timeout(PATIENCE, said.next_line()).await.expect("starts in time").expect("standard output");
        Self { url: url.expect("its URL").parse().expect("a URL"), _owner: owner }
    }

    /// A database that belongs to the role `owner`, who connects to it; `roles` are statements that make this role, and others.
    pub(crate) async fn database_of(&self, owner: &str, roles: &[&str]) -> TestDatabase {
        let mut connection = PgConnection::connect(self.url.as_str()).await.expect("it answers");
        let create = format!("CREATE DATABASE {owner} OWNER {owner}");
        for statement in roles.iter().copied().chain([create.as_str()]) {
            connection.execute(AssertSqlSafe(statement.to_owned())).await.expect("is done");
        }
        let mut url = self.url.clone();
        url.set_username(owner).expect("has a user");
        url.set_path(owner);
        TestDatabase { url }
    }
}
