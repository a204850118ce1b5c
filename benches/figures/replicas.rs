//! What it costs that an agent lives on another server, and how long it takes until a server is known to be dead.

use std::time::{Duration, Instant};

use super::compare::compare;
use super::load::Target;
use super::report::{Table, millis};
use super::server::{Place, Server};
use super::support::{Client, TestDatabase, TestRedis};
use super::{Effort, Failure};

/// Longest that it may take until a dead server's agents are known to be lost.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) async fn measure(effort: Effort) -> Result<Vec<Table>, Failure> {
    effort.tell("replicas: starting the servers");
    let redis = TestRedis::start_with(&["--appendonly", "no"]).await;
    let database = TestDatabase::create().await;
    let key = "7".repeat(64);
    let env = [("DATABASE_URL", database.url()), ("REDIS_URL", &redis.url()), ("TOKEN_ENCRYPTION_KEY", &key)];
    let places = [Place::new(&env)?, Place::new(&env)?];
    let servers = [places[0].start()?, places[1].start()?];
    let passing_on = passing_on(effort, &servers).await?;
    let [mut owner, other] = servers;
    let rounds = effort.choose(5, 1);
    let mut took = Vec::with_capacity(rounds);
    for round in 1..=rounds {
        effort.tell(&format!("replicas: death {round} of {rounds}"));
        took.push(death(owner, &other).await?);
        owner = places[0].start()?;
    }
    owner.stop()?;
    other.stop()?;
    took.sort_unstable();

    let mut deaths = Table::new("From a server's death to the first answer that its agent is lost", &["figure", "result"]);
    deaths.row(&["median", &millis(took[took.len() / 2])]);
    deaths.row(&["longest", &millis(took[took.len() - 1])]);
    deaths.note(format!(
        "{rounds} servers, each killed with SIGKILL; another was asked all the time. Heartbeats every 2 s, the default."
    ));
    Ok(vec![passing_on, deaths])
}

async fn passing_on(effort: Effort, [owner, other]: &[Server; 2]) -> Result<Table, Failure> {
    let client = owner.operator().await;
    let agent = client.start_agent(&["cat"]).await;
    client.stable(&agent).await;
    let path = format!("{agent}/status");
    let target = |server: &Server| -> Result<Target, Failure> {
        Ok(Target::get(server.url.trim_start_matches("http://").parse()?, server.pid(), &path, client.token.as_deref()))
    };
    let named = vec![
        ("`GET /v1/agents/{id}/status` of the server where the agent lives", target(owner)?),
        ("the same of another server, which passes it on", target(other)?),
    ];
    let comparison = compare("replicas", effort, named, || Ok(())).await?;
    client.delete(&agent).await.ok();
    let mut table = comparison.table("Requests about an agent of another server");
    table.note("“server CPU each” is that of the server that was asked. Postgres, which it asks where the agent lives, writes nothing to disk here.");
    Ok(table)
}

/// Kills `owner`. Returns how long it takes until `other` knows.
async fn death(owner: Server, other: &Server) -> Result<Duration, Failure> {
    let agent = owner.operator().await.start_agent(&["cat"]).await;
    let client = Client::new(&other.url).log_in("default", "admin@localhost", super::support::PASSWORD).await;
    // Known to the other, as a server that has been there for a while.
    client.get(&format!("{agent}/status")).await.ok();
    tokio::time::sleep(Duration::from_secs(5)).await;
    owner.kill()?;
    let died = Instant::now();
    while client.get(&agent).await.ok()["state"] == "running" {
        if died.elapsed() > PATIENCE {
            return Err("a dead server's agent was not found to be lost".into());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(died.elapsed())
}
