//! Servers that share Redis and Postgres act as one.

mod circuits;
mod endings;
mod forged_grants;
mod freezes;
mod joining;
mod passing_on;
mod stopping;

use crate::support::{Client, Event, Proxy, Server, ServerBuilder, TestDatabase, TestRedis, eventually, free_port};

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

    /// Waits until every server has had so many heartbeats, at each of which it looks at the leases of the others.
    async fn heartbeats(&self, number: u64) {
        self.redis.forget_commands().await;
        eventually("heartbeats", || async {
            let looks = self.redis.commands().await.get("mget").copied().unwrap_or(0);
            (looks >= number * 3).then_some(())
        })
        .await;
    }
}

/// A fleet whose second server reaches Redis, and is reached by the others, through proxies.
struct Isolated {
    fleet: Fleet,
    redis: Proxy,
    http: Proxy,
}

impl Isolated {
    async fn make() -> Self {
        let mut fleet = Fleet::make().await;
        let port = free_port();
        let (redis, http) = (Proxy::before(&fleet.redis.address()), Proxy::before(&format!("127.0.0.1:{port}")));
        let builder = fleet.builders[1].clone().env("REDIS_URL", &format!("redis://{}", redis.address()));
        let builder = builder.env("AGENTAPI_PORT", &port.to_string());
        fleet.builders[1] = builder.env("AGENTAPI_REPLICA_URL", &format!("http://{}", http.address()));
        Self { fleet, redis, http }
    }
}

fn is_stable(event: &Event) -> bool {
    event.name == "status_change" && event.data["status"] == "stable"
}

/// The last message of an agent.
async fn said(client: &Client, agent: &str) -> String {
    client.conversation(agent).await.pop().expect("messages").1
}
