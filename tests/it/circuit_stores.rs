//! What every store of circuits does: in the process, in a real Redis, and over REST.

use std::collections::BTreeMap;
use std::time::Duration;

use agentapi::circuit_breaker::{Answer, CircuitStore, Event, MemoryCircuitStore, Phase, Policy, RedisCircuitStore, Snapshot};
use agentapi::config::Config;
use agentapi::domain::{AgentId, KeyRing, Service};
use agentapi::redis::Redis;
use futures_util::future::join_all;

use crate::support::{TestRedis, Upstash, eventually};

/// So long that nothing ends by itself while the test runs.
const LONG: Policy = Policy { failure_threshold: 5, success_threshold: 2, open_ms: 60_000 };

/// So short that it can be waited for.
const SHORT: Policy = Policy { open_ms: 50, ..LONG };

const LEASE_MS: u64 = 60_000;

fn service() -> Service {
    Service::Agent(AgentId::new())
}

async fn apply(store: &dyn CircuitStore, service: Service, seen: u64, event: Event, policy: &Policy) -> Answer {
    store.apply(service, seen, event, policy).await.expect("an answer")
}

async fn fails(store: &dyn CircuitStore, service: Service, seen: u64, failures: u32, policy: &Policy) -> Snapshot {
    apply(store, service, seen, Event::Calls { healed: false, failures }, policy).await.circuit
}

async fn succeeds(store: &dyn CircuitStore, service: Service, seen: u64, policy: &Policy) -> Snapshot {
    apply(store, service, seen, Event::Calls { healed: true, failures: 0 }, policy).await.circuit
}

/// A circuit that has just opened for so long that it can be waited for, and the time in which it does not let probes pass.
async fn opened(store: &dyn CircuitStore) -> (Service, Snapshot) {
    let service = service();
    let circuit = fails(store, service, 0, 5, &SHORT).await;
    assert_eq!((circuit.phase, circuit.generation), (Phase::Open, 1));
    (service, circuit)
}

/// A half-open circuit, and one of its probes.
async fn probing(store: &dyn CircuitStore) -> (Service, Snapshot) {
    let (service, circuit) = opened(store).await;
    tokio::time::sleep(Duration::from_millis(circuit.wait_ms)).await;
    let answer = apply(store, service, 1, Event::Acquire(1, LEASE_MS), &SHORT).await;
    assert!(answer.admitted);
    assert_eq!((answer.circuit.phase, answer.circuit.generation), (Phase::HalfOpen, 2));
    (service, answer.circuit)
}

/// Holds a store, and further handles on the same one, to the contract.
async fn conforms(stores: &[&dyn CircuitStore]) {
    let store = stores[0];
    counts_failures_in_a_row_of_all(stores).await;
    loses_no_failure_of_many_at_once(stores).await;
    says_nothing_of_what_it_does_not_know(store).await;
    refuses_probes_while_it_is_open(store).await;
    gives_away_exactly_the_probes_that_are_free(stores).await;
    closes_after_enough_successes(store).await;
    opens_for_longer_after_a_failed_probe(store).await;
    frees_the_place_of_a_probe_that_is_never_heard_of(stores).await;
    drops_late_results(store).await;
    believes_who_knows_more(store).await;
    closes_when_told_to(store).await;
    lists_what_is_not_closed(store).await;
}

async fn counts_failures_in_a_row_of_all(stores: &[&dyn CircuitStore]) {
    let service = service();
    let store = |turn: u32| stores[turn as usize % stores.len()];
    for turn in 1..=4 {
        assert_eq!(fails(store(turn), service, 0, 1, &LONG).await.failures, turn);
    }
    assert_eq!(succeeds(store(0), service, 0, &LONG).await.failures, 0);
    for turn in 1..=4 {
        let circuit = fails(store(turn), service, 0, 1, &LONG).await;
        assert_eq!((circuit.phase, circuit.failures, circuit.wait_ms), (Phase::Closed, turn, 0));
    }
    let circuit = fails(store(0), service, 0, 1, &LONG).await;
    assert_eq!((circuit.phase, circuit.generation, circuit.opens), (Phase::Open, 1, 1));
    assert!((60_000..=66_000).contains(&circuit.wait_ms), "{circuit:?}");
    // A success between failures that are told together.
    let other = self::service();
    fails(store(1), other, 0, 4, &LONG).await;
    let told = apply(store(0), other, 0, Event::Calls { healed: true, failures: 3 }, &LONG).await.circuit;
    assert_eq!((told.phase, told.failures), (Phase::Closed, 3));
}

async fn loses_no_failure_of_many_at_once(stores: &[&dyn CircuitStore]) {
    let (service, policy) = (service(), Policy { failure_threshold: 1000, ..LONG });
    join_all((0..200).map(|turn| fails(stores[turn % stores.len()], service, 0, 1, &policy))).await;
    assert_eq!(apply(stores[0], service, 0, Event::Peek, &policy).await.circuit.failures, 200);
}

async fn says_nothing_of_what_it_does_not_know(store: &dyn CircuitStore) {
    let (known, unknown) = (service(), service());
    fails(store, known, 3, 2, &LONG).await;
    let told = store.peek(&[unknown, known], &LONG).await.expect("an answer");
    let circuit = Snapshot { phase: Phase::Closed, generation: 3, failures: 2, successes: 0, opens: 0, wait_ms: 0 };
    assert_eq!(told, [None, Some(circuit)]);
    assert_eq!(store.peek(&[], &LONG).await.expect("an answer"), []);
    // A success of a service that nothing is known of is nothing to keep.
    succeeds(store, unknown, 0, &LONG).await;
    assert_eq!(store.peek(&[unknown], &LONG).await.expect("an answer"), [None]);
}

async fn refuses_probes_while_it_is_open(store: &dyn CircuitStore) {
    let service = service();
    fails(store, service, 0, 5, &LONG).await;
    let answer = apply(store, service, 1, Event::Acquire(1, LEASE_MS), &LONG).await;
    assert!(!answer.admitted && answer.circuit.phase == Phase::Open && answer.circuit.wait_ms > 0, "{answer:?}");
    assert_eq!(apply(store, service, 1, Event::Peek, &LONG).await.circuit.phase, Phase::Open);
}

async fn gives_away_exactly_the_probes_that_are_free(stores: &[&dyn CircuitStore]) {
    let (service, circuit) = opened(stores[0]).await;
    tokio::time::sleep(Duration::from_millis(circuit.wait_ms)).await;
    let asks = (0..600).map(|turn| apply(stores[turn % stores.len()], service, 1, Event::Acquire(turn as u64, LEASE_MS), &SHORT));
    let answers = join_all(asks).await;
    assert_eq!(answers.iter().filter(|answer| answer.admitted).count(), 2);
    let refused = answers.iter().find(|answer| !answer.admitted).expect("most are");
    assert!((1..=LEASE_MS).contains(&refused.circuit.wait_ms), "{refused:?}");
    // One is given up: its place is free again.
    let given = answers.iter().position(|answer| answer.admitted).expect("two are") as u64;
    apply(stores[0], service, 2, Event::ProbeDropped(given), &SHORT).await;
    let more = join_all((600..620).map(|lease| apply(stores[0], service, 2, Event::Acquire(lease, LEASE_MS), &SHORT))).await;
    assert_eq!(more.iter().filter(|answer| answer.admitted).count(), 1);
}

async fn closes_after_enough_successes(store: &dyn CircuitStore) {
    let (service, circuit) = probing(store).await;
    let half = apply(store, service, circuit.generation, Event::ProbeSucceeded(1), &SHORT).await.circuit;
    assert_eq!((half.phase, half.successes), (Phase::HalfOpen, 1));
    // One success is missing, so one probe is free.
    let asked = [2, 3].map(|lease| apply(store, service, half.generation, Event::Acquire(lease, LEASE_MS), &SHORT));
    assert_eq!(join_all(asked).await.iter().filter(|answer| answer.admitted).count(), 1);
    let closed = apply(store, service, half.generation, Event::ProbeSucceeded(2), &SHORT).await.circuit;
    assert_eq!((closed.phase, closed.generation, closed.failures, closed.opens), (Phase::Closed, 3, 0, 0));
    // Whoever did not hear of it yet and asks may simply call.
    let answer = apply(store, service, 2, Event::Acquire(4, LEASE_MS), &SHORT).await;
    assert!(answer.admitted && answer.circuit.phase == Phase::Closed, "{answer:?}");
}

async fn opens_for_longer_after_a_failed_probe(store: &dyn CircuitStore) {
    let policy = Policy { open_ms: 20, ..LONG };
    let service = service();
    let mut circuit = fails(store, service, 0, 5, &policy).await;
    for (opens, factor) in [(2, 2), (3, 4), (4, 8), (5, 10), (5, 10)] {
        tokio::time::sleep(Duration::from_millis(circuit.wait_ms)).await;
        let probe = apply(store, service, circuit.generation, Event::Acquire(1, LEASE_MS), &policy).await;
        assert!(probe.admitted);
        circuit = apply(store, service, probe.circuit.generation, Event::ProbeFailed(1), &policy).await.circuit;
        assert_eq!((circuit.phase, circuit.opens), (Phase::Open, opens));
        let open = 20 * factor;
        assert!((open..=open * 11 / 10).contains(&circuit.wait_ms), "{circuit:?}");
    }
}

async fn frees_the_place_of_a_probe_that_is_never_heard_of(stores: &[&dyn CircuitStore]) {
    let (service, circuit) = opened(stores[0]).await;
    tokio::time::sleep(Duration::from_millis(circuit.wait_ms)).await;
    // Both places are taken: one soon free, one not for long.
    apply(stores[0], service, 1, Event::Acquire(1, LEASE_MS), &SHORT).await;
    assert!(apply(stores[0], service, 2, Event::Acquire(2, 300), &SHORT).await.admitted);
    let other = stores[stores.len() - 1];
    let refused = apply(other, service, 2, Event::Acquire(3, LEASE_MS), &SHORT).await;
    if !refused.admitted {
        assert!((1..=300).contains(&refused.circuit.wait_ms), "{refused:?}");
        tokio::time::sleep(Duration::from_millis(refused.circuit.wait_ms)).await;
        assert!(apply(other, service, 2, Event::Acquire(4, LEASE_MS), &SHORT).await.admitted);
    }
    assert!(!apply(other, service, 2, Event::Acquire(5, LEASE_MS), &SHORT).await.admitted);
}

async fn drops_late_results(store: &dyn CircuitStore) {
    let (service, circuit) = probing(store).await;
    // From when it was closed, and from a probe of an earlier round.
    for event in [Event::Calls { healed: false, failures: 9 }, Event::ProbeFailed(1), Event::ProbeSucceeded(1)] {
        assert_eq!(apply(store, service, 0, event, &SHORT).await.circuit.generation, circuit.generation, "{event:?}");
    }
    let circuit = apply(store, service, 0, Event::Peek, &SHORT).await.circuit;
    assert_eq!((circuit.phase, circuit.successes), (Phase::HalfOpen, 0));
    // And of a call on a probe's: it says nothing of calls.
    assert_eq!(fails(store, service, circuit.generation, 9, &SHORT).await.phase, Phase::HalfOpen);
}

async fn believes_who_knows_more(store: &dyn CircuitStore) {
    // A store that came back empty.
    let closed = service();
    let circuit = fails(store, closed, 7, 2, &LONG).await;
    assert_eq!((circuit.phase, circuit.generation, circuit.failures), (Phase::Closed, 7, 2));
    let circuit = fails(store, closed, 7, 3, &LONG).await;
    assert_eq!((circuit.phase, circuit.generation), (Phase::Open, 8));
    let open = service();
    let answers = join_all((0..20).map(|lease| apply(store, open, 8, Event::Acquire(lease, LEASE_MS), &LONG))).await;
    assert_eq!(answers.iter().filter(|answer| answer.admitted).count(), 2, "still only probes");
    assert!(answers.iter().all(|answer| (answer.circuit.phase, answer.circuit.generation) == (Phase::HalfOpen, 9)));
    let probed = service();
    let circuit = apply(store, probed, 9, Event::ProbeFailed(1), &LONG).await.circuit;
    assert_eq!((circuit.phase, circuit.generation), (Phase::Open, 10));
}

async fn closes_when_told_to(store: &dyn CircuitStore) {
    let service = service();
    fails(store, service, 0, 5, &LONG).await;
    let circuit = apply(store, service, 1, Event::Reset, &LONG).await.circuit;
    assert_eq!((circuit.phase, circuit.generation, circuit.failures), (Phase::Closed, 2, 0));
    assert_eq!(fails(store, service, 1, 9, &LONG).await.failures, 0, "what began before says nothing");
}

async fn lists_what_is_not_closed(store: &dyn CircuitStore) {
    let mut services: Vec<Service> = (0..5).map(|_| service()).collect();
    for &service in &services {
        fails(store, service, 0, 5, &LONG).await;
    }
    apply(store, services[2], 1, Event::Reset, &LONG).await;
    services.remove(2);
    services.sort_by_key(ToString::to_string);
    let all = store.not_closed(None, 1000).await.expect("listed");
    assert!(services.iter().all(|service| all.contains(service)), "{all:?}");
    assert!(all.is_sorted_by_key(ToString::to_string));
    let place = all.iter().position(|service| *service == services[1]).expect("listed");
    assert_eq!(store.not_closed(Some(services[1]), 2).await.expect("listed"), all[place + 1..place + 3]);
    assert_eq!(store.not_closed(Some(all[all.len() - 1]), 2).await.expect("listed"), []);
}

/// A store that servers with these settings share.
fn store(variables: &[(&str, &str)]) -> RedisCircuitStore {
    store_with(variables, KeyRing::new(&[7; 32]))
}

/// The same with other keys.
fn store_with(variables: &[(&str, &str)], keys: KeyRing) -> RedisCircuitStore {
    let mut variables: BTreeMap<_, _> = variables.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
    variables.insert("REDIS_COMMAND_TIMEOUT".to_owned(), "10s".to_owned());
    RedisCircuitStore::new(Redis::new(&Config::from_variables(&variables).expect("valid").redis).expect("an endpoint"), keys)
}

#[tokio::test]
async fn the_in_process_store_conforms() {
    let store = MemoryCircuitStore::default();
    conforms(&[&store]).await;
}

#[tokio::test]
async fn redis_conforms() {
    let redis = TestRedis::start().await;
    let handle = || store(&[("REDIS_URL", &redis.url())]);
    let (one, two, three) = (handle(), handle(), handle());
    conforms(&[&one, &two, &three]).await;
}

#[tokio::test]
async fn rest_conforms() {
    let redis = TestRedis::start().await;
    let upstash = Upstash::start(&redis).await;
    let handle = || {
        store(&[
            ("REDIS_PROTOCOL", "rest"),
            ("UPSTASH_REDIS_REST_URL", &upstash.url()),
            ("UPSTASH_REDIS_REST_TOKEN", Upstash::TOKEN),
        ])
    };
    let (one, two, three) = (handle(), handle(), handle());
    conforms(&[&one, &two, &three]).await;
}

#[tokio::test]
async fn change_is_one_call_that_says_no_time_of_day() {
    let redis = TestRedis::start().await;
    let upstash = Upstash::start(&redis).await;
    let rest = store(&[
        ("REDIS_PROTOCOL", "rest"),
        ("UPSTASH_REDIS_REST_URL", &upstash.url()),
        ("UPSTASH_REDIS_REST_TOKEN", Upstash::TOKEN),
    ]);
    let service = service();
    fails(&rest, service, 0, 1, &LONG).await;
    upstash.take_seen();
    let (_, commands) = redis.commands_of(fails(&rest, service, 0, 4, &LONG)).await;
    let expected: BTreeMap<String, u64> =
        ["evalsha", "get", "pexpire", "set", "zadd", "zremrangebyrank"].map(|name| (name.to_owned(), 1)).into();
    assert_eq!(commands, expected, "the clock of Redis is known already");
    let told: Vec<String> = upstash.take_seen().into_iter().flat_map(|seen| seen.commands).flatten().collect();
    let largest = told.iter().filter_map(|argument| argument.parse::<u64>().ok()).max();
    assert_eq!(largest, Some(LONG.life_ms()), "times are within the authenticated value: {told:?}");
}

async fn write(redis: &TestRedis, service: Service, value: &str) {
    let mut set = redis::cmd("SET");
    set.arg(format!("circuit:{service}")).arg(value).arg("EX").arg(3600);
    set.query_async::<()>(&mut redis.connect().await).await.expect("written");
}

async fn read(redis: &TestRedis, service: Service) -> String {
    redis::cmd("GET").arg(format!("circuit:{service}")).query_async(&mut redis.connect().await).await.expect("a value")
}

#[tokio::test]
async fn value_that_no_server_wrote_is_ignored_and_replaced() {
    let redis = TestRedis::start().await;
    let url = redis.url();
    let ours = store(&[("REDIS_URL", &url)]);
    let foreign = store_with(&[("REDIS_URL", &url)], KeyRing::new(&[8; 32]));
    let other = service();
    let opened = fails(&ours, other, 0, 5, &LONG).await;
    assert_eq!(opened.phase, Phase::Open);
    let of_another = read(&redis, other).await;
    let stranger = service();
    fails(&foreign, stranger, 0, 5, &LONG).await;
    let by_another = read(&redis, stranger).await;
    for value in
        ["open:5:0:0:1:3600000:3600000:", "", "c2.AAAA.open:5:0:0:1:9999999999999:9999999999999:1:", &of_another, &by_another]
    {
        let service = service();
        write(&redis, service, value).await;
        assert_eq!(ours.peek(&[service], &LONG).await.expect("an answer"), [None], "{value}");
        assert!(apply(&ours, service, 0, Event::Peek, &LONG).await.circuit.phase == Phase::Closed, "{value}");
        let counted = fails(&ours, service, 0, 2, &LONG).await;
        assert_eq!((counted.phase, counted.failures), (Phase::Closed, 2), "{value}");
        assert_eq!(ours.peek(&[service], &LONG).await.expect("an answer"), [Some(counted)], "{value}");
    }
    // A value of another type.
    let service = service();
    let mut push = redis::cmd("LPUSH");
    push.arg(format!("circuit:{service}")).arg(1).query_async::<()>(&mut redis.connect().await).await.expect("a list");
    assert_eq!(ours.peek(&[service], &LONG).await.expect("an answer"), [None]);
    assert_eq!(fails(&ours, service, 0, 2, &LONG).await.failures, 2);
}

#[tokio::test]
async fn value_written_back_is_ignored_by_who_knows_a_newer_one() {
    let redis = TestRedis::start().await;
    let store = store(&[("REDIS_URL", &redis.url())]);
    let service = service();
    fails(&store, service, 0, 5, &LONG).await;
    let open = read(&redis, service).await;
    // Soon after, it may as well be that two servers know the time of Redis differently.
    eventually("it is closed, and stays so", || async {
        apply(&store, service, 1, Event::Reset, &LONG).await;
        write(&redis, service, &open).await;
        let answer = apply(&store, service, 1, Event::Acquire(1, LEASE_MS), &LONG).await;
        (answer.circuit.phase != Phase::Open).then_some(())
    })
    .await;
    write(&redis, service, &open).await;
    assert_eq!(store.peek(&[service], &LONG).await.expect("an answer"), [None]);
}

#[tokio::test]
async fn previous_key_authenticates_values_while_keys_are_changed() {
    let redis = TestRedis::start().await;
    let url = redis.url();
    let on = |keys| store_with(&[("REDIS_URL", &url)], keys);
    let (old, both) = (on(KeyRing::new(&[7; 32])), on(KeyRing::with_others(&[8; 32], [&[7; 32]]).expect("two keys")));
    let next = on(KeyRing::with_others(&[7; 32], [&[8; 32]]).expect("two keys"));
    let service = service();
    fails(&old, service, 0, 2, &LONG).await;
    assert_eq!(fails(&both, service, 0, 1, &LONG).await.failures, 3);
    assert_eq!(fails(&next, service, 0, 1, &LONG).await.failures, 4);
}

#[tokio::test]
async fn what_was_forgotten_while_it_was_open_is_taken_off_the_list() {
    let redis = TestRedis::start().await;
    let store = store(&[("REDIS_URL", &redis.url())]);
    let (gone, there) = (service(), service());
    for service in [gone, there] {
        fails(&store, service, 0, 5, &LONG).await;
    }
    let mut connection = redis.connect().await;
    redis::cmd("DEL").arg(format!("circuit:{gone}")).query_async::<()>(&mut connection).await.expect("deleted");
    assert_eq!(store.not_closed(None, 10).await.expect("listed"), [there]);
    let left: i64 = redis::cmd("ZCARD").arg("circuits").query_async(&mut connection).await.expect("a count");
    assert_eq!(left, 1);
}
