//! A database of a test's own.

use std::str::FromStr;

use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

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
