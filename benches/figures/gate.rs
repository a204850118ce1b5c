//! What the gate costs, session and limit of a request together: by each way to Redis, near and far.

use std::hint::black_box;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use agentapi::config;
use agentapi::domain::{KeyRing, TenantId, User, UserId, UserRole};
use agentapi::session::{MemorySessionStore, Sessions};
use chrono::Utc;
use futures_util::future::join_all;

use super::compare::{compare, median};
use super::load::Target;
use super::report::{P50, Table, millis, nanos, quantile, share};
use super::server::{Place, Server};
use super::support::{Network, Proxy, TestRedis, Upstash};
use super::{Effort, Failure, bare, look_alike};

/// To Redis and back.
const ROUND_TRIP: Duration = Duration::from_millis(4);

/// The script that limits by default; what `redis-benchmark` repeats.
const SCRIPT: &str = include_str!("../../src/redis/lua/fixed_window_v3.lua");

/// Round trips of nothing but a `PING`, in each round.
const PINGS: usize = 100;

/// Requests that are refused.
const FLOOD: usize = 2_000;

pub(crate) async fn measure(effort: Effort) -> Result<Vec<Table>, Failure> {
    effort.tell("gate: starting the servers");
    // Keeps nothing on disk: what is measured is not the disk.
    let redis = TestRedis::start_with(&["--appendonly", "no"]).await;
    let upstash = look_alike::start(&redis.url())?;
    let [far_redis, far_upstash] = [redis.address(), upstash.address.to_string()].map(|address| {
        let proxy = Proxy::before(&address);
        proxy.set(Network::Slow(ROUND_TRIP / 2));
        proxy
    });
    let places = [
        Place::new(&[("RATE_LIMIT_ENABLED", "false")])?,
        Place::new(&[])?,
        Place::new(&[("REDIS_URL", &redis.url())])?,
        Place::new(&rest(&upstash.address.to_string()).each_ref().map(|(name, value)| (*name, value.as_str())))?,
        Place::new(&[("REDIS_URL", &format!("redis://{}", far_redis.address()))])?,
        Place::new(&rest(&far_upstash.address()).each_ref().map(|(name, value)| (*name, value.as_str())))?,
    ];
    let servers = places.iter().map(Place::start).collect::<Result<Vec<Server>, Failure>>()?;
    let mut targets = Vec::new();
    for server in &servers {
        targets.push(target(server).await?);
    }
    let bare = bare::start(&targets[0].1)?;
    let ways = [
        "no limit, session in-process",
        "gate, in-process",
        "gate, native",
        "gate, REST",
        "gate, native, 4 ms away",
        "gate, REST, 4 ms away",
    ];
    // Places of the rows that goals are about.
    let [bare_row, no_limit, native, far_native, far_rest] = [0, 2, 4, 6, 7];
    let mut rows = vec![("bare axum handler, the same JSON", Target::get(bare.address, bare.pid(), "/", None))];
    let address = servers[0].url.trim_start_matches("http://").parse()?;
    rows.push(("the server without the gate: `/livez`", Target::get(address, servers[0].pid(), "/livez", None)));
    rows.extend(ways.into_iter().zip(targets.iter().map(|(target, _)| target.clone())));
    let (mut benchmarks, mut pings) = (Vec::new(), Vec::new());
    let comparison = compare("gate", effort, rows, || {
        benchmarks.extend(redis_benchmark(&redis, effort)?);
        pings.extend(ping(&far_redis.address())?);
        Ok(())
    });
    let comparison = comparison.await?;
    for server in servers {
        server.stop()?;
    }

    let mut table = comparison.table("The gate: requests with a session and a limit");
    table.note("The request is `GET /v1/agents/{id}/status`, which needs no Postgres. All servers have the same one Redis.");
    table.note("“REST” is the tests' look-alike of Upstash, a process of its own before that Redis; it looks at the keys of every call within a script, which Upstash itself need not.");
    table.note("“4 ms away”: through a proxy that holds back each way for 2 ms.");
    table.note("“no limit, session in-process”: the same handler and layers, and of the gate no more than opening the token and looking into a map.");

    let mut goals = Table::with_goals("The gate: goals");
    let of_no_limit = comparison.share_of_many(native, no_limit);
    goals.goal_at_least(
        "native, 64 connections, of the rate with no limit and the session in-process",
        (of_no_limit, 0.5),
        share,
    );
    goals.goal_at_least(
        "native, 64 connections, of the bare handler's rate",
        (comparison.share_of_many(native, bare_row), 0.5),
        share,
    );
    pings.sort_unstable();
    let round_trip = quantile(&pings, P50);
    goals.figure("a `PING` of Redis 4 ms away, p50: a round trip", &millis(round_trip));
    for (name, target) in [("native", far_native), ("REST", far_rest)] {
        let above = comparison.latency_of_one(target).saturating_sub(comparison.latency_of_one(bare_row));
        goals.figure(&format!("{name}, 4 ms away, one connection, p50 above the bare handler's"), &millis(above));
        let trips = above.as_secs_f64() / round_trip.as_secs_f64();
        goals.goal(&format!("{name}, 4 ms away: the same, in round trips"), (trips, 1.3), |trips| format!("{trips:.2}"));
    }
    goals.goal("opening a token", (token_open(effort).await?.as_secs_f64(), 1e-6), nanos);
    let (commands, refused) = flood(effort).await?;
    goals.goal(&format!("commands of Redis for {refused} refusals of a flooded key"), (commands, 0.0), |commands| {
        format!("{commands:.0}")
    });
    if benchmarks.is_empty() {
        goals.figure("native, 64 connections, of `redis-benchmark`'s rate", "it is not installed");
    } else {
        let benchmark = median(benchmarks);
        goals.figure("native, 64 connections, of `redis-benchmark`'s rate", &share(comparison.rate_of_many(native) / benchmark));
        goals.note(format!("`redis-benchmark -c 64` with the script of the fixed window alone: {benchmark:.0} calls a second, the median of the rounds. The gate asks for the session too, and answers HTTP."));
    }
    goals.note("A token is opened by `Sessions::identify`: base64, AES-256-GCM, and whether it is past its end.");
    Ok(vec![table, goals])
}

/// The settings that lead to a look-alike.
fn rest(address: &str) -> [(&'static str, String); 3] {
    [
        ("REDIS_PROTOCOL", "rest".to_owned()),
        ("UPSTASH_REDIS_REST_URL", format!("http://{address}")),
        ("UPSTASH_REDIS_REST_TOKEN", Upstash::TOKEN.to_owned()),
    ]
}

/// A request that meets the gate and needs no Postgres, and its answer.
async fn target(server: &Server) -> Result<(Target, String), Failure> {
    let client = server.operator().await;
    let agent = client.start_agent(&["cat"]).await;
    client.stable(&agent).await;
    let path = format!("{agent}/status");
    let body = client.get(&path).await.text;
    let address = server.url.trim_start_matches("http://").parse()?;
    Ok((Target::get(address, server.pid(), &path, client.token.as_deref()), body))
}

/// Calls a second of the script alone, if `redis-benchmark` is there.
fn redis_benchmark(redis: &TestRedis, effort: Effort) -> Result<Option<f64>, Failure> {
    let (host, port) = redis.address().split_once(':').map(|(host, port)| (host.to_owned(), port.to_owned())).ok_or("no port")?;
    let script = Command::new("redis-cli").args(["-h", &host, "-p", &port, "SCRIPT", "LOAD", SCRIPT]).output();
    let Ok(script) = script else { return Ok(None) };
    let digest = String::from_utf8(script.stdout)?.trim().to_owned();
    let calls = effort.choose("100000", "30000");
    let mut benchmark = Command::new("redis-benchmark");
    benchmark.args(["-h", &host, "-p", &port, "-c", "64", "-n", calls, "--csv"]);
    benchmark.args(["EVALSHA", &digest, "1", "ratelimit:benchmark", "1", "1000000000", "60000"]);
    let Ok(output) = benchmark.output() else { return Ok(None) };
    let text = String::from_utf8(output.stdout)?;
    let rate = text.lines().last().and_then(|line| line.rsplit("\",\"").nth(6)?.parse().ok());
    Ok(Some(rate.ok_or_else(|| format!("redis-benchmark said: {text}"))?))
}

/// How long Redis takes to answer a `PING`, each on its own.
fn ping(address: &str) -> Result<Vec<Duration>, Failure> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    let mut answer = [0; b"+PONG\r\n".len()];
    let mut took = Vec::with_capacity(PINGS);
    for _ in 0..PINGS {
        let start = Instant::now();
        stream.write_all(b"PING\r\n")?;
        stream.read_exact(&mut answer)?;
        took.push(start.elapsed());
    }
    Ok(took)
}

/// How long it takes to open a token: the best of several rounds, for all that disturbs makes it longer.
async fn token_open(effort: Effort) -> Result<Duration, Failure> {
    let calls = effort.choose(200_000, 50_000);
    let sessions = Sessions::new(Arc::new(MemorySessionStore::default()), KeyRing::new(&[7; 32]), &config::Session::default());
    let now = Utc::now();
    let user = User {
        tenant_id: TenantId::new(),
        id: UserId::new(),
        email: "ada@example.org".parse()?,
        role: UserRole::Member,
        created_at: now,
        disabled_at: None,
        session_epoch: 0,
        tenant_epoch: 0,
    };
    let token = sessions.open(&user, now).await?.token;
    let mut best = Duration::MAX;
    for _ in 0..10 {
        let start = Instant::now();
        for _ in 0..calls / 10 {
            black_box(sessions.identify(black_box(token.expose()), now)).ok_or("a token of ours does not open")?;
        }
        best = best.min(start.elapsed() / (calls / 10));
    }
    Ok(best)
}

/// Commands that Redis carries out for requests over the limit, and how many those were.
async fn flood(effort: Effort) -> Result<(f64, usize), Failure> {
    effort.tell("gate: a flood over the limit");
    // Of its own: on the other one this machine's address has been counted often enough.
    let redis = TestRedis::start_with(&["--appendonly", "no"]).await;
    let place =
        Place::new(&[("REDIS_URL", &redis.url()), ("RATE_LIMIT_REQUESTS_PER_MINUTE", "1"), ("RATE_LIMIT_BURST_SIZE", "1")])?;
    let server = place.start()?;
    let client = server.operator().await;
    while client.get("/v1/agents").await.status == 200 {}
    let mut refused = 0;
    let requests = async {
        for _ in 0..FLOOD / 64 {
            let answers = join_all((0..64).map(|_| client.get("/v1/agents"))).await;
            refused += answers.iter().filter(|answer| answer.status == 429).count();
        }
    };
    let ((), commands) = redis.commands_of(requests).await;
    server.stop()?;
    let count = u32::try_from(commands.values().sum::<u64>())?;
    Ok((f64::from(count), refused))
}
