//! What the layers around an outgoing call cost while all is well.

use std::collections::BTreeMap;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use agentapi::circuit_breaker::{CircuitBreakers, RedisCircuitStore};
use agentapi::config::{self, Config};
use agentapi::domain::{AgentId, KeyRing, Service};
use agentapi::outbound::{Body, Call, Outbound, OutboundError, Resolvers, Timeouts, around};
use agentapi::redis::Redis;
use agentapi::telemetry;
use http_body_util::BodyExt;
use hyper::{Request, Response};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tokio_util::task::TaskTracker;
use tower::{Service as TowerService, ServiceExt};

use super::process::cpu;
use super::report::{P50, P99, Table, quantile};
use super::support::TestRedis;
use super::{Effort, Failure, bare};

/// Most that the layers may take of a call.
const GOAL_MICROS: f64 = 2.0;

/// So often what goes on in the background has its turn; calls that are always answered at once leave it none.
const YIELD: u32 = 100;

/// Answers at once: what takes time is around it.
#[derive(Clone)]
struct Nothing;

impl TowerService<Call> for Nothing {
    type Response = Response<Body>;
    type Error = OutboundError;
    type Future = Ready<Result<Response<Body>, OutboundError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), OutboundError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Call) -> Self::Future {
        ready(Ok(Response::new(Body::empty())))
    }
}

pub(crate) async fn measure(effort: Effort) -> Result<Table, Failure> {
    effort.tell("outbound: starting Redis and the bare server");
    // As in the server: metrics are collected.
    let log = telemetry::log(&config::Log { level: "off".parse()?, ..config::Log::default() });
    let metrics = telemetry::metrics(&log)?;
    let redis = TestRedis::start_with(&["--appendonly", "no"]).await;
    let breakers = || shared_breakers(&redis);
    let service = Service::Agent(AgentId::new());
    let (rounds, calls) = effort.choose((20, 50_000), (5, 20_000));
    let mut times = [const { Vec::new() }; 3];
    let (_, commands) = redis
        .commands_of(async {
            let (open, guarded) = (around(Nothing, None), around(Nothing, breakers()?));
            for round in 1..=rounds {
                effort.tell(&format!("outbound: round {round} of {rounds}"));
                times[0].push(each(Nothing, service, calls).await?);
                times[1].push(each(open.clone(), service, calls).await?);
                times[2].push(each(guarded.clone(), service, calls).await?);
                metrics.run_upkeep();
            }
            Ok::<_, Failure>(())
        })
        .await;
    let [nothing, open, guarded] = times.map(|times| median(&times));
    let commands: u64 = commands.values().sum();

    let mut table = Table::with_goals("An outgoing call that succeeds");
    let micros = |value: f64| format!("{value:.2} µs");
    table.figure("a service that does nothing", &micros(nothing));
    table.goal("all layers around it, circuit closed", (guarded - nothing, GOAL_MICROS), micros);
    table.figure("of these, the circuit breaker", &micros(guarded - open));
    let of_calls = f64::from(u32::try_from(commands)?) / f64::from(rounds * calls);
    table.figure("Redis commands a call", &format!("{of_calls:.6}"));
    over_tcp(effort, &mut table, breakers()?).await?;
    table.note(format!(
        "The first three: processor time, medians of {rounds} rounds, each of {calls} calls of each, one after the other; metrics are \
         collected, spans are off as by default. Layers: span and metrics, deadline, retries, breaker, bounds, attempt's time."
    ));
    table.note(format!(
        "Redis was asked {commands} times in {} calls: by whoever calls, what other replicas learnt, at most once a second.",
        rounds * calls
    ));
    table.note("Over TCP: GET on a kept connection of the bare handler of “Requests a second”, in turns, one at a time.");
    Ok(table)
}

/// Breakers as a server has them that shares `redis`.
fn shared_breakers(redis: &TestRedis) -> Result<Option<CircuitBreakers>, Failure> {
    let settings = Config::from_variables(&BTreeMap::from([("REDIS_URL".to_owned(), redis.url())]))?;
    let store = Arc::new(RedisCircuitStore::new(Redis::new(&settings.redis)?, KeyRing::new(&[7; 32])));
    let peek = Some(Duration::from_secs(1));
    Ok(CircuitBreakers::new(store, &settings.circuit_breaker, peek, TaskTracker::new()))
}

/// Microseconds of this process' processor time for a call: what else the cores do is not in it.
async fn each<S>(stack: S, service: Service, calls: u32) -> Result<f64, Failure>
where
    S: TowerService<Call, Response = Response<Body>, Error = OutboundError> + Clone,
{
    let before = cpu(std::process::id())?;
    for call in 0..calls {
        if call.is_multiple_of(YIELD) {
            tokio::task::yield_now().await;
        }
        let request = Request::get("http://127.0.0.1/").body(Body::empty())?;
        stack.clone().oneshot(Call::new(service, request, Timeouts::default())).await?;
    }
    Ok(cpu(std::process::id())?.saturating_sub(before).as_secs_f64() * 1e6 / f64::from(calls))
}

/// The same over TCP, beside the client alone.
async fn over_tcp(effort: Effort, table: &mut Table, breakers: Option<CircuitBreakers>) -> Result<(), Failure> {
    let bare = bare::start("{}")?;
    let url = format!("http://{}/", bare.address);
    let client = Client::builder(TokioExecutor::new()).build_http::<Body>();
    let outbound = Outbound::new(breakers, Resolvers::default());
    let service = Service::Agent(AgentId::new());
    let mut latencies = [Vec::new(), Vec::new()];
    for _ in 0..effort.choose(20_000, 4_000) {
        let start = Instant::now();
        let answer = client.request(Request::get(&url).body(Body::empty())?).await?;
        answer.into_body().collect().await?;
        latencies[0].push(start.elapsed());
        let start = Instant::now();
        let answer = outbound.call(service, Request::get(&url).body(Body::empty())?).await?;
        answer.into_body().collect().await.map_err(|error| error.to_string())?;
        latencies[1].push(start.elapsed());
    }
    for (name, mut latencies) in ["the client alone", "the client in the layers"].into_iter().zip(latencies) {
        latencies.sort_unstable();
        let micros = |p| format!("{:.0} µs", quantile(&latencies, p).as_secs_f64() * 1e6);
        table.figure(&format!("over TCP, {name}, p50"), &micros(P50));
        table.figure(&format!("over TCP, {name}, p99"), &micros(P99));
    }
    Ok(())
}

fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}
