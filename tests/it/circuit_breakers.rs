//! Breakers of several replicas, each with connections of its own, around one Redis.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use agentapi::circuit_breaker::{
    CircuitBreakers, CircuitStore, MemoryCircuitStore, Outcome, Permit, Phase, RedisCircuitStore, Refusal,
};
use agentapi::config::Config;
use agentapi::domain::{AgentId, KeyRing, Service};
use agentapi::redis::Redis;
use futures_util::future::join_all;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use crate::support::{PATIENCE, TestRedis, eventually};

/// Longer than a test runs.
const LONG: Duration = Duration::from_secs(60);

/// A replica's breakers.
struct Replica {
    breakers: CircuitBreakers,
    tasks: TaskTracker,
}

impl Replica {
    fn new(store: Arc<dyn CircuitStore>, timeout: &str, peek: Option<Duration>) -> Self {
        let variables = BTreeMap::from([("CIRCUIT_BREAKER_TIMEOUT".to_owned(), timeout.to_owned())]);
        let settings = Config::from_variables(&variables).expect("valid").circuit_breaker;
        let tasks = TaskTracker::new();
        let breakers = CircuitBreakers::new(store, &settings, peek, tasks.clone()).expect("they are on");
        Self { breakers, tasks }
    }

    /// One of those that share `redis`.
    fn of(redis: &TestRedis, timeout: &str, peek: Duration) -> Self {
        let variables = BTreeMap::from([("REDIS_URL".to_owned(), redis.url())]);
        let settings = Config::from_variables(&variables).expect("valid").redis;
        Self::new(
            Arc::new(RedisCircuitStore::new(Redis::new(&settings).expect("an endpoint"), KeyRing::new(&[7; 32]))),
            timeout,
            Some(peek),
        )
    }

    async fn admit(&self, service: Service) -> Result<Permit, Refusal> {
        self.breakers.admit(service, LONG).await
    }

    /// Makes a call with this outcome, and waits until all know of it that need to.
    async fn call(&self, service: Service, outcome: Outcome) {
        self.admit(service).await.expect("it passes").settle(outcome).await;
        self.settled().await;
    }

    async fn fail(&self, service: Service, times: u32) {
        for _ in 0..times {
            self.call(service, Outcome::Failure).await;
        }
    }

    /// Nothing goes on in the background.
    async fn settled(&self) {
        self.tasks.close();
        tokio::time::timeout(PATIENCE, self.tasks.wait()).await.expect("it ends");
        self.tasks.reopen();
    }

    /// Calls until the circuit is open here too. Calls that pass until then succeed.
    async fn learns_that_it_is_open(&self, service: Service) -> Duration {
        eventually("it is open here", || async {
            match self.admit(service).await {
                Ok(permit) => {
                    permit.settle(Outcome::Success).await;
                    None
                }
                Err(Refusal::Open(wait)) => Some(wait),
                Err(Refusal::HeldBack(_)) => panic!("nobody asked for it"),
            }
        })
        .await
    }

    /// Asks until a call may be made.
    async fn passes(&self, service: Service) -> Permit {
        eventually("it passes", || async { self.admit(service).await.ok() }).await
    }
}

fn service() -> Service {
    Service::Agent(AgentId::new())
}

/// Never, for a test.
const NEVER: Duration = Duration::from_secs(3600);

const SOON: Duration = Duration::from_millis(20);

#[tokio::test]
async fn the_specifications_flow() {
    let replica = Replica::new(Arc::new(MemoryCircuitStore::default()), "100ms", None);
    let service = service();
    replica.fail(service, 4).await;
    replica.call(service, Outcome::Success).await;
    replica.fail(service, 4).await;
    assert_eq!(replica.breakers.open()["agent"], 0);
    replica.fail(service, 1).await;
    let Err(Refusal::Open(wait)) = replica.admit(service).await else { panic!("it is open") };
    assert!(wait <= Duration::from_millis(110), "{wait:?}");
    assert_eq!(replica.breakers.open()["agent"], 1);
    assert!(replica.admit(self::service()).await.is_ok(), "others are not cut off");
    replica.passes(service).await.settle(Outcome::Success).await;
    assert_eq!(replica.breakers.open()["agent"], 1, "half-open");
    replica.passes(service).await.settle(Outcome::Success).await;
    assert_eq!(replica.breakers.open()["agent"], 0);
    for _ in 0..10 {
        replica.call(service, Outcome::Success).await;
    }
}

#[tokio::test]
async fn failures_in_a_row_are_counted_over_replicas() {
    let redis = TestRedis::start().await;
    let (one, two) = (Replica::of(&redis, "60s", NEVER), Replica::of(&redis, "60s", NEVER));
    let service = service();
    one.fail(service, 2).await;
    two.fail(service, 2).await;
    // The first to hear of a failure tells of its next success.
    two.call(service, Outcome::Success).await;
    one.fail(service, 4).await;
    assert!(matches!(two.admit(service).await, Ok(_permit)));
    two.fail(service, 1).await;
    for replica in [&one, &two] {
        let (listed, shared) = replica.breakers.list(None, 10).await;
        assert_eq!((listed.len(), listed[0].service, listed[0].circuit.phase, shared), (1, service, Phase::Open, true));
    }
    assert!(matches!(two.admit(service).await, Err(Refusal::Open(_))));
}

#[tokio::test]
async fn a_replica_that_sees_no_failures_learns_of_others() {
    let redis = TestRedis::start().await;
    let (one, two) = (Replica::of(&redis, "60s", SOON), Replica::of(&redis, "60s", SOON));
    let service = service();
    two.call(service, Outcome::Success).await;
    one.fail(service, 5).await;
    let wait = two.learns_that_it_is_open(service).await;
    assert!(wait > Duration::from_secs(50), "{wait:?}");
    // And that it is over.
    one.breakers.reset(service).await.expect("reset");
    one.call(service, Outcome::Success).await;
    two.passes(service).await.settle(Outcome::Success).await;
}

#[tokio::test]
async fn hundreds_of_calls_at_the_half_open_instant_are_exactly_the_probes() {
    let redis = TestRedis::start().await;
    let replicas: Vec<Replica> = (0..3).map(|_| Replica::of(&redis, "200ms", SOON)).collect();
    let service = service();
    replicas[0].fail(service, 5).await;
    let mut longest = Duration::ZERO;
    for replica in &replicas {
        longest = longest.max(replica.learns_that_it_is_open(service).await);
    }
    tokio::time::sleep(longest).await;
    let asked = join_all((0..900).map(|turn| replicas[turn % 3].admit(service))).await;
    let probes: Vec<Permit> = asked.into_iter().filter_map(Result::ok).collect();
    assert_eq!(probes.len(), 2);
    // No more until they are heard of, however often somebody asks.
    let until = Instant::now() + Duration::from_millis(300);
    while Instant::now() < until {
        assert!(join_all((0..300).map(|turn| replicas[turn % 3].admit(service))).await.iter().all(Result::is_err));
    }
    for probe in probes {
        probe.settle(Outcome::Success).await;
    }
    for replica in &replicas {
        replica.passes(service).await.settle(Outcome::Success).await;
        eventually("it is closed here", || async { (replica.breakers.open()["agent"] == 0).then_some(()) }).await;
    }
}

#[tokio::test]
async fn a_replica_that_dies_holding_a_probe_wedges_nothing() {
    let redis = TestRedis::start().await;
    let (one, two) = (Replica::of(&redis, "100ms", SOON), Replica::of(&redis, "100ms", SOON));
    let service = service();
    one.fail(service, 5).await;
    two.learns_that_it_is_open(service).await;
    let (lease, start) = (Duration::from_millis(800), Instant::now());
    for _ in 0..2 {
        let probe = eventually("a probe is free", || async { one.breakers.admit(service, lease).await.ok() }).await;
        // Nobody will ever hear of it.
        std::mem::forget(probe);
    }
    drop(one);
    let taken = Instant::now();
    let refused = two.admit(service).await.is_err();
    assert!(refused || start.elapsed() >= lease, "both places are taken");
    let permit = two.passes(service).await;
    assert!(start.elapsed() >= lease, "not before the leases end: {:?}", start.elapsed());
    assert!(taken.elapsed() < lease * 5, "and soon then: {:?}", taken.elapsed());
    permit.settle(Outcome::Success).await;
    two.passes(service).await.settle(Outcome::Success).await;
    eventually("it is closed", || async { (two.breakers.open()["agent"] == 0).then_some(()) }).await;
}

#[tokio::test]
async fn a_call_that_is_given_up_frees_its_probe_and_says_nothing() {
    let redis = TestRedis::start().await;
    let (one, two) = (Replica::of(&redis, "100ms", SOON), Replica::of(&redis, "100ms", SOON));
    let service = service();
    one.fail(service, 5).await;
    two.learns_that_it_is_open(service).await;
    // While closed a call that is given up is no failure and no success.
    let other = self::service();
    one.fail(other, 4).await;
    drop(one.admit(other).await);
    one.settled().await;
    let (first, second) = (one.passes(service).await, one.passes(service).await);
    assert!(two.admit(service).await.is_err());
    drop(first);
    // Far sooner than its lease ends.
    let third = two.passes(service).await;
    // One that is given up while it is asked for frees its place too.
    drop(second);
    one.settled().await;
    let asking = one.admit(service);
    drop(tokio::time::timeout(Duration::ZERO, asking).await);
    let fourth = two.passes(service).await;
    third.settle(Outcome::Success).await;
    fourth.settle(Outcome::Success).await;
    assert!(two.admit(service).await.is_ok());
    one.fail(other, 1).await;
    assert!(matches!(one.admit(other).await, Err(Refusal::Open(_))), "the fifth failure in a row");
}

#[tokio::test]
async fn healthy_calls_cost_redis_nothing() {
    let redis = TestRedis::start().await;
    let replica = Replica::of(&redis, "60s", NEVER);
    let service = service();
    replica.call(service, Outcome::Success).await;
    let calls = async {
        for _ in 0..1000 {
            replica.call(service, Outcome::Success).await;
        }
    };
    assert_eq!(redis.commands_of(calls).await.1, BTreeMap::new());
    // One failure, and the success that ends it.
    let ((), commands) = redis.commands_of(replica.call(service, Outcome::Failure)).await;
    // The script, its text where Redis does not know it yet, what it does, and the time.
    assert!(commands.values().sum::<u64>() <= 5, "{commands:?}");
    let ((), commands) = redis.commands_of(replica.call(service, Outcome::Success)).await;
    assert_eq!(commands.values().sum::<u64>(), 3, "{commands:?}");
    let ((), commands) = redis.commands_of(replica.call(service, Outcome::Success)).await;
    assert_eq!(commands, BTreeMap::new());
}

#[tokio::test]
async fn looking_what_others_learnt_costs_one_command_and_none_when_idle() {
    let redis = TestRedis::start().await;
    let replica = Replica::of(&redis, "60s", SOON);
    let services: Vec<Service> = (0..100).map(|_| service()).collect();
    replica.call(services[0], Outcome::Success).await;
    let calls = async {
        for &service in &services {
            replica.admit(service).await.expect("it passes").settle(Outcome::Success).await;
        }
        replica.settled().await;
        tokio::time::sleep(SOON).await;
        replica.call(services[0], Outcome::Success).await;
    };
    let start = Instant::now();
    let ((), commands) = redis.commands_of(calls).await;
    let most = 1 + start.elapsed().as_millis() / SOON.as_millis();
    assert!(commands.keys().all(|name| name == "mget"), "{commands:?}");
    assert!((1..=most).contains(&u128::from(commands["mget"])), "{commands:?} of at most {most}");
    replica.settled().await;
    let ((), commands) = redis.commands_of(tokio::time::sleep(SOON * 10)).await;
    assert_eq!(commands, BTreeMap::new(), "it is idle");
}

#[tokio::test]
async fn failures_that_come_together_are_told_together() {
    let redis = TestRedis::start().await;
    let replica = Replica::of(&redis, "60s", NEVER);
    let service = service();
    let permits = join_all((0..500).map(|_| replica.admit(service))).await;
    let fail = async {
        join_all(permits.into_iter().map(|permit| permit.expect("closed").settle(Outcome::Failure))).await;
        replica.settled().await;
    };
    let ((), commands) = redis.commands_of(fail).await;
    assert!(commands["evalsha"] <= 2, "{commands:?}");
    let Err(Refusal::Open(wait)) = replica.admit(service).await else { panic!("it is open") };
    assert!(wait > Duration::from_secs(50));
    assert_eq!(replica.breakers.list(None, 10).await.0[0].circuit.generation, 1, "it opened once");
}

#[tokio::test]
async fn while_redis_is_away_each_replica_goes_on_alone_and_then_the_stricter_state_holds() {
    let mut redis = TestRedis::start().await;
    let (one, two) = (Replica::of(&redis, "300ms", SOON), Replica::of(&redis, "300ms", SOON));
    let (cut, fine) = (service(), service());
    for replica in [&one, &two] {
        replica.call(cut, Outcome::Success).await;
        replica.call(fine, Outcome::Success).await;
    }
    redis.kill();
    // Calls pass: that Redis is away says nothing of other services.
    one.fail(cut, 4).await;
    one.call(fine, Outcome::Success).await;
    one.fail(cut, 1).await;
    let Err(Refusal::Open(wait)) = one.admit(cut).await else { panic!("it opened by itself") };
    assert!(wait <= Duration::from_millis(330), "{wait:?}");
    two.call(cut, Outcome::Success).await;
    let (known, shared) = one.breakers.list(None, 10).await;
    assert_eq!((known.len(), known[0].service, shared), (1, cut, false));
    assert!(one.breakers.reset(cut).await.is_err());
    // It is tried, and found well, without Redis too.
    one.passes(cut).await.settle(Outcome::Success).await;
    one.passes(cut).await.settle(Outcome::Success).await;
    assert_eq!(one.breakers.open()["agent"], 0);
    // It opens again, and Redis comes back empty, where nothing is known of it: it stays open here.
    let long = Replica::of(&redis, "60s", SOON);
    long.call(fine, Outcome::Success).await;
    long.fail(cut, 5).await;
    redis.forget();
    redis.restart().await;
    for replica in [&one, &two, &long] {
        eventually("Redis is asked again", || async { replica.breakers.list(None, 10).await.1.then_some(()) }).await;
    }
    for _ in 0..20 {
        drop(long.admit(fine).await);
        assert!(matches!(long.admit(cut).await, Err(Refusal::Open(_))), "the stricter state holds");
        tokio::time::sleep(SOON).await;
    }
    // What happens from now on is shared again.
    one.fail(fine, 3).await;
    two.fail(fine, 2).await;
    assert!(matches!(two.admit(fine).await, Err(Refusal::Open(_))));
    one.learns_that_it_is_open(fine).await;
}

#[tokio::test]
async fn an_open_circuit_stays_open_while_redis_hangs_and_nobody_waits_for_it() {
    let redis = TestRedis::start().await;
    let replica = Replica::of(&redis, "60s", SOON);
    let (open, fine) = (service(), service());
    replica.fail(open, 5).await;
    replica.call(fine, Outcome::Success).await;
    redis.hang();
    let start = Instant::now();
    for _ in 0..100 {
        assert!(replica.admit(open).await.is_err());
        replica.admit(fine).await.expect("it passes").settle(Outcome::Failure).await;
        replica.admit(fine).await.expect("it passes").settle(Outcome::Success).await;
    }
    assert!(start.elapsed() < Duration::from_millis(400), "{:?}: less than Redis is waited for", start.elapsed());
    redis.resume();
}

#[tokio::test]
async fn who_asks_not_to_be_called_is_not_called() {
    let replica = Replica::new(Arc::new(MemoryCircuitStore::default()), "300ms", None);
    let service = service();
    replica.fail(service, 4).await;
    replica.call(service, Outcome::Throttled(Duration::from_millis(100))).await;
    let Err(Refusal::HeldBack(wait)) = replica.admit(service).await else { panic!("it is held back") };
    assert!(wait <= Duration::from_millis(100));
    // It was no success, and no failure.
    let permit = replica.passes(service).await;
    permit.settle(Outcome::Throttled(Duration::from_secs(3600))).await;
    // Whatever it asks for, no longer than a circuit is open.
    let Err(Refusal::HeldBack(wait)) = replica.admit(service).await else { panic!("it is held back") };
    assert!(wait <= Duration::from_millis(300), "{wait:?}");
    replica.passes(service).await.settle(Outcome::Failure).await;
    assert!(matches!(replica.admit(service).await, Err(Refusal::Open(_))));
}

#[tokio::test]
async fn none_are_made_where_they_are_off() {
    let variables = BTreeMap::from([("CIRCUIT_BREAKER_ENABLED".to_owned(), "false".to_owned())]);
    let settings = Config::from_variables(&variables).expect("valid").circuit_breaker;
    let store = Arc::new(MemoryCircuitStore::default());
    assert!(CircuitBreakers::new(store, &settings, None, TaskTracker::new()).is_none());
}

#[tokio::test]
async fn many_services_are_known_and_memory_is_bounded() {
    let replica = Replica::new(Arc::new(MemoryCircuitStore::default()), "60s", None);
    let open = service();
    replica.fail(open, 5).await;
    for _ in 0..12_000 {
        replica.admit(service()).await.expect("it passes").settle(Outcome::Success).await;
    }
    assert!(replica.admit(open).await.is_err(), "an open one is not forgotten for others");
}
