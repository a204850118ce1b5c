//! Servers that share Redis and Postgres act as one.

mod endings;
mod joining;
mod passing_on;
mod stopping;

use crate::support::{Event, Server, ServerBuilder, TestDatabase, TestRedis};

/// Servers that are taken for dead after some seconds without a sign of life.
struct Fleet {
    builders: [ServerBuilder; 3],
    redis: TestRedis,
    database: TestDatabase,
}

impl Fleet {
    async fn make() -> Self {
        let (database, redis) = (TestDatabase::create().await, TestRedis::start().await);
        let key = "7".repeat(64);
        let builder = ServerBuilder::new(&database)
            .redis(&redis)
            .env("AGENTAPI_HEARTBEAT_INTERVAL", "500ms")
            .env("REDIS_COMMAND_TIMEOUT", "2s")
            .env("TOKEN_ENCRYPTION_KEY", &key);
        let builders = [builder.sibling(), builder.sibling(), builder.sibling()];
        Self { builders, redis, database }
    }

    /// With another setting for all of them.
    fn env(self, name: &str, value: &str) -> Self {
        Self { builders: self.builders.map(|builder| builder.env(name, value)), ..self }
    }

    async fn start(&self) -> [Server; 3] {
        let [a, b, c] = &self.builders;
        // One after the other: the first makes the operator.
        [a.start().await, b.start().await, c.start().await]
    }

    /// A fleet with all its servers.
    async fn started() -> (Self, [Server; 3]) {
        let fleet = Self::make().await;
        let servers = fleet.start().await;
        (fleet, servers)
    }

    /// The ids of the servers that count as living.
    async fn members(&self) -> Vec<uuid::Uuid> {
        let mut connection = self.database.connect().await;
        sqlx::query_scalar("SELECT id FROM replicas").fetch_all(&mut connection).await.expect("ids")
    }
}

fn is_stable(event: &Event) -> bool {
    event.name == "status_change" && event.data["status"] == "stable"
}
