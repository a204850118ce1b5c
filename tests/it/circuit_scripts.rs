//! The script in Redis and the function in the program are the same machine: equal answers on random traces.

use agentapi::circuit_breaker::{Circuit, Event, MAX_PROBES, Phase, Policy};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use redis::Script;
use redis::aio::MultiplexedConnection;

use crate::support::TestRedis;

const KEYS: usize = 2;
const TRACES: u64 = 40;
const STEPS: usize = 150;

/// All times are multiples of it. The script takes its time from the lives of its keys, which are set by the function's time
/// before each step; a unit is so long that it does not matter how long the step takes.
const UNIT_MS: u64 = 60_000;

/// What the script says.
type Numbers = (u64, usize, u64, u32, u32, u32, u64);

fn policy(random: &mut StdRng) -> Policy {
    Policy {
        failure_threshold: random.random_range(1..=4),
        // Beyond the probes that may be under way at once, at times.
        success_threshold: if random.random_bool(0.2) { 12 } else { random.random_range(1..=3) },
        // With thousandths added it is a multiple of the unit still.
        open_ms: 1000 * UNIT_MS * random.random_range(1..=3),
    }
}

fn event(random: &mut StdRng) -> Event {
    let lease = random.random_range(1..=6);
    match random.random_range(0..20) {
        0..6 => Event::Acquire(lease, UNIT_MS * random.random_range(1..=2000)),
        6..11 => Event::Calls { healed: random.random_bool(0.3), failures: random.random_range(0..=3) },
        11..15 => Event::ProbeSucceeded(lease),
        15..17 => Event::ProbeFailed(lease),
        17 => Event::ProbeDropped(lease),
        18 => Event::Peek,
        _ if random.random_bool(0.2) => Event::Reset,
        _ => Event::Peek,
    }
}

fn arguments(event: Event) -> (&'static str, [u64; 2]) {
    match event {
        Event::Peek => ("peek", [0, 0]),
        Event::Acquire(lease, ms) => ("acquire", [lease, ms]),
        Event::Calls { healed, failures } => ("calls", [u64::from(healed), u64::from(failures)]),
        Event::ProbeSucceeded(lease) => ("probe_succeeded", [lease, 0]),
        Event::ProbeFailed(lease) => ("probe_failed", [lease, 0]),
        Event::ProbeDropped(lease) => ("probe_dropped", [lease, 0]),
        Event::Reset => ("reset", [0, 0]),
    }
}

/// A generation that somebody may have seen.
fn seen(random: &mut StdRng, circuit: Option<&Circuit>) -> u64 {
    let generation = circuit.map_or(0, |circuit| circuit.generation);
    match random.random_range(0..20) {
        0..16 => generation,
        16..18 => generation.saturating_sub(random.random_range(1..=2)),
        _ => generation + random.random_range(0..=2),
    }
}

/// Gives a key the life that is left to it by the function's time.
async fn live_on(connection: &mut MultiplexedConnection, key: &str, circuit: Option<&Circuit>, now: u64) {
    let left = circuit.map_or(0, |circuit| circuit.ends.saturating_sub(now));
    let mut command = redis::cmd(if left == 0 { "DEL" } else { "PEXPIRE" });
    command.arg(key);
    if left > 0 {
        command.arg(left);
    }
    command.query_async::<()>(connection).await.expect("done");
}

#[tokio::test]
async fn the_circuit_is_the_same_in_redis() {
    let redis = TestRedis::start_with(&["--appendonly", "no"]).await;
    let mut connection = redis.connect().await;
    let script = Script::new(include_str!("../../src/redis/lua/circuit_v1.lua"));
    let (mut met, mut admitted, mut forgotten) = ([0; 3], [0; 2], 0);
    for seed in 0..TRACES {
        let mut random = StdRng::seed_from_u64(seed);
        let policy = policy(&mut random);
        let mut circuits: [Option<Circuit>; KEYS] = [None, None];
        let mut now = UNIT_MS;
        for step in 0..STEPS {
            now += UNIT_MS
                * match random.random_range(0..20) {
                    0..10 => 0,
                    10..14 => random.random_range(0..500),
                    14..19 => random.random_range(0..4_000),
                    _ => random.random_range(0..80_000),
                };
            let place = random.random_range(0..KEYS);
            let (key, before) = (format!("{seed}:{place}"), circuits[place].as_ref());
            live_on(&mut connection, &key, before, now).await;
            forgotten += u32::from(before.is_some_and(|circuit| now >= circuit.ends));
            let (event, seen, jitter) = (event(&mut random), seen(&mut random, before), random.random_range(0..=100_u32));
            let (after, changed, may_call) = Circuit::apply(before, seen, event, &policy, jitter, now);
            let (operation, operands) = arguments(event);
            let mut call = script.prepare_invoke();
            call.key(&key).key("circuits").arg(operation).arg(seen).arg(policy.failure_threshold).arg(policy.success_threshold);
            call.arg(policy.open_ms).arg(jitter).arg(policy.life_ms()).arg(MAX_PROBES).arg(&key).arg(&operands);
            let (said, phase, generation, failures, successes, opens, wait): Numbers =
                call.invoke_async(&mut connection).await.expect("an answer");
            let told = after.snapshot(now);
            let phases = [Phase::Closed, Phase::Open, Phase::HalfOpen];
            let answer = (said == 1, phases[phase], generation, failures, successes, opens, wait.div_ceil(UNIT_MS));
            let expected = (
                may_call,
                told.phase,
                told.generation,
                told.failures,
                told.successes,
                told.opens,
                told.wait_ms.div_ceil(UNIT_MS),
            );
            assert_eq!(answer, expected, "seed {seed} step {step} now {now} seen {seen} {event:?} {policy:?} {before:?}");
            met[phase] += 1;
            if matches!(event, Event::Acquire(..)) {
                admitted[usize::from(may_call)] += 1;
            }
            if changed {
                circuits[place] = Some(after);
            }
            if let Some(circuit) = &circuits[place]
                && circuit.phase != Phase::Closed
                && now < circuit.ends
            {
                let listed: Option<u64> =
                    redis::cmd("ZSCORE").arg("circuits").arg(&key).query_async(&mut connection).await.expect("a score");
                assert!(listed.is_some(), "seed {seed} step {step}: it is listed");
            }
        }
    }
    let enough = met.iter().chain(&admitted).all(|&count| count > 300) && forgotten > 20;
    assert!(enough, "the traces say little: phases {met:?}, admitted {admitted:?}, forgotten {forgotten}");
}
