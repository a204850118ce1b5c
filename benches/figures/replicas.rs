//! What it costs that an agent lives on another server, and how long it takes until a server is known to be dead.

use std::time::{Duration, Instant};

use super::compare::compare;
use super::load::Target;
use super::report::{Table, millis};
use super::server::{Place, Server};
use super::support::{TestDatabase, TestRedis, eventually};
use super::{Effort, Failure};

/// How long a server's lease lasts at most where there is another: three heartbeats of 2 s, the default.
const LEASE: Duration = Duration::from_secs(6);

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
    let [mut owner, mut other] = servers;
    let rounds = effort.choose(5, 1);
    let mut took = Vec::with_capacity(rounds);
    for (round, place) in (1..=rounds).zip(places.iter().cycle()) {
        effort.tell(&format!("replicas: death {round} of {rounds}"));
        took.push(death(owner, &other, &redis).await?);
        // The next to die was alone until now.
        (owner, other) = (other, place.start()?);
    }
    owner.stop()?;
    other.stop()?;
    took.sort_unstable();

    let mut deaths = Table::new("From a server's death to the first answer that its agent is lost", &["figure", "result"]);
    deaths.row(&["median", &millis(took[took.len() / 2])]);
    deaths.row(&["longest", &millis(took[took.len() - 1])]);
    deaths.note(format!(
        "{rounds} servers, each killed with SIGKILL as soon as a second one had come and its own lease was as short as any; the second was asked all the time. Heartbeats every 2 s, the default."
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
    table.note("“server CPU each” is that of the server that was asked. It asks Postgres where the agent lives once in 3 s.");
    Ok(table)
}

/// Kills `owner`. Returns how long it takes until `other` knows.
async fn death(owner: Server, other: &Server, redis: &TestRedis) -> Result<Duration, Failure> {
    let agent = owner.operator().await.start_agent(&["cat"]).await;
    let client = other.operator().await;
    client.get(&format!("{agent}/status")).await.ok();
    eventually("leases are as short as any", || async { (longest_lease(redis).await <= LEASE).then_some(()) }).await;
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

async fn longest_lease(redis: &TestRedis) -> Duration {
    let mut connection = redis.connect().await;
    let keys: Vec<String> = redis::cmd("KEYS").arg("replica:*").query_async(&mut connection).await.expect("keys");
    let mut longest = Duration::ZERO;
    for key in keys {
        // Negative: it has just ended.
        let left: i64 = redis::cmd("PTTL").arg(key).query_async(&mut connection).await.expect("a time");
        longest = longest.max(Duration::from_millis(u64::try_from(left).unwrap_or(0)));
    }
    longest
}
