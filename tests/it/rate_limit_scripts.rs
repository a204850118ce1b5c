//! The scripts in Redis and the functions in the program are the same algorithms: equal answers on random traces.

use agentapi::rate_limit::algorithm::{FixedWindow, SlidingWindow, State, TokenBucket, take_all};
use agentapi::rate_limit::{Decision, Quota, Taken};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use redis::Script;
use redis::aio::MultiplexedConnection;
use std::time::Duration;

use crate::support::TestRedis;

const KEYS: usize = 4;
const TRACES: u64 = 30;
const STEPS: usize = 150;

/// Longer than the test runs by far, so that no key ends by itself, and prime, so that divisions leave remainders.
const WINDOW_MS: u64 = 60_000_011;

/// Time of the first step, in microseconds since 1970.
const START: u64 = 1_795_000_000_000_000;

fn quota(random: &mut StdRng, window_ms: u64) -> Quota {
    let limit = if random.random_bool(0.2) { random.random_range(1..=1_000_000) } else { random.random_range(1..=12) };
    Quota { limit, per_window: random.random_range(1..=2_000), window: Duration::from_millis(window_ms) }
}

/// Some of the keys, in any order.
fn some_keys(random: &mut StdRng) -> Vec<usize> {
    let mut keys: Vec<usize> = (0..KEYS).collect();
    for place in 0..KEYS {
        keys.swap(place, random.random_range(place..KEYS));
    }
    keys.truncate(random.random_range(1..=3));
    keys
}

fn cost(random: &mut StdRng, quotas: &[Quota]) -> u64 {
    let most = if random.random_bool(0.7) { 3 } else { quotas[random.random_range(0..KEYS)].limit + 2 };
    random.random_range(1..=most)
}

/// Now and then, one of them: a tenant's own limits may change at any time.
fn change_quota(random: &mut StdRng, quotas: &mut [Quota]) {
    if random.random_bool(0.03) {
        let window_ms = u64::try_from(quotas[0].window.as_millis()).expect("small");
        quotas[random.random_range(0..KEYS)] = quota(random, window_ms);
    }
}

/// Whatever the clock did: who is refused is not kept out for long, and passes all limits once the time has come.
fn tells_a_wait_that_is_true<S: State + std::fmt::Debug>(met: &[(Option<S>, Quota)], now: u64, cost: u64, taken: Taken) {
    let Decision { allowed, reset_after, retry_after, .. } = taken.decision;
    let quota = met[taken.tightest].1;
    let bucket = Duration::from_micros(quota.limit * quota.interval_micros()) + Duration::from_secs(61);
    assert!(retry_after <= reset_after && reset_after <= bucket.max(3 * quota.window), "{taken:?} {quota:?}");
    if !allowed {
        let wait = u64::try_from(retry_after.as_micros()).expect("small");
        assert!(take_all(&mut met.to_vec(), now + wait, cost).decision.allowed, "{taken:?} {met:?}");
    }
}

fn said(taken: Taken) -> (u64, usize, u64, u64, u64) {
    let millis = |duration: Duration| u64::try_from(duration.as_millis()).expect("small");
    let decision = taken.decision;
    let (reset, retry) = (millis(decision.reset_after), millis(decision.retry_after));
    (u64::from(decision.allowed), taken.tightest + 1, decision.remaining, reset, retry)
}

/// Runs a script and the function side by side, telling both the time.
async fn timed<S: State + std::fmt::Debug>(text: &str, numbers: fn(Quota) -> [u64; 2]) {
    let redis = TestRedis::start().await;
    let (mut connection, script) = (redis.connect().await, Script::new(text));
    let (mut allowed, mut refused) = (0, 0);
    for seed in 0..TRACES {
        let mut random = StdRng::seed_from_u64(seed);
        let mut quotas: Vec<Quota> = (0..KEYS).map(|_| quota(&mut random, WINDOW_MS)).collect();
        let mut states: Vec<Option<S>> = vec![None; KEYS];
        let mut now = START;
        for step in 0..STEPS {
            let micros = match random.random_range(0..20) {
                0..6 => 0,
                6..12 => random.random_range(0..WINDOW_MS * 10),
                12..18 => random.random_range(0..WINDOW_MS * 300),
                _ => random.random_range(0..WINDOW_MS * 3_000),
            };
            now = match random.random_range(0..100) {
                // A failover or an administrator may set the clock back, a little or far.
                0..3 => now - micros / 2,
                3 => now - random.random_range(0..WINDOW_MS * 20_000),
                _ => now + micros,
            };
            change_quota(&mut random, &mut quotas);
            let (keys, cost) = (some_keys(&mut random), cost(&mut random, &quotas));
            let mut met: Vec<_> = keys.iter().map(|&key| (states[key], quotas[key])).collect();
            let taken = take_all(&mut met, now, cost);
            tells_a_wait_that_is_true(&met, now, cost, taken);
            let mut call = script.prepare_invoke();
            call.arg(cost);
            for (&key, (state, quota)) in keys.iter().zip(met) {
                states[key] = state;
                call.key(format!("{seed}:{key}")).arg(&numbers(quota));
            }
            call.arg(now);
            let answer: (u64, usize, u64, u64, u64) = call.invoke_async(&mut connection).await.expect("an answer");
            assert_eq!(answer, said(taken), "seed {seed} step {step} now {now} cost {cost} {keys:?} {quotas:?}");
            if taken.decision.allowed { allowed += 1 } else { refused += 1 }
        }
    }
    assert!(allowed > 500 && refused > 500, "the traces say little: {allowed} allowed, {refused} refused");
}

#[tokio::test]
async fn the_sliding_window_is_the_same_in_redis() {
    let text = include_str!("../../src/redis/lua/sliding_window_v2.lua");
    timed::<SlidingWindow>(text, |quota| [quota.limit, quota.window_micros() / 1000]).await;
}

#[tokio::test]
async fn the_token_bucket_is_the_same_in_redis() {
    let text = include_str!("../../src/redis/lua/token_bucket_v2.lua");
    timed::<TokenBucket>(text, |quota| [quota.limit, quota.interval_micros()]).await;
}

/// The fixed window takes its time from the lives of its keys. Before each step they are given the life that is left to them by
/// the function's time, of which a unit is so long that it does not matter how long the step takes.
const UNIT_MS: u64 = 1_000_000;
const WINDOW: Duration = Duration::from_millis(60 * UNIT_MS);

async fn live_on(connection: &mut MultiplexedConnection, key: &str, state: Option<FixedWindow>, now: u64) {
    let left = state.map_or(0, |state| state.ends().saturating_sub(now)) / 1000;
    let mut command = redis::cmd(if left == 0 { "DEL" } else { "PEXPIRE" });
    command.arg(key);
    if left > 0 {
        command.arg(left);
    }
    command.query_async::<()>(connection).await.expect("done");
}

#[tokio::test]
async fn the_fixed_window_is_the_same_in_redis() {
    let redis = TestRedis::start().await;
    let mut connection = redis.connect().await;
    let script = Script::new(include_str!("../../src/redis/lua/fixed_window_v3.lua"));
    let (mut allowed, mut refused) = (0, 0);
    for seed in 0..TRACES {
        let mut random = StdRng::seed_from_u64(seed);
        let mut quotas: Vec<Quota> = (0..KEYS).map(|_| quota(&mut random, 60 * UNIT_MS)).collect();
        let mut states: Vec<Option<FixedWindow>> = vec![None; KEYS];
        let mut now = START;
        for step in 0..STEPS {
            let units = if random.random_bool(0.7) { 0 } else { random.random_range(1..40) };
            let back = if random.random_bool(0.02) { random.random_range(1..10_000) } else { 0 };
            now = now + units * UNIT_MS * 1000 - back * UNIT_MS * 1000;
            change_quota(&mut random, &mut quotas);
            let (keys, cost) = (some_keys(&mut random), cost(&mut random, &quotas));
            let mut call = script.prepare_invoke();
            call.arg(cost);
            for &key in &keys {
                let name = format!("{seed}:{key}");
                // What has ended is gone, and does not come back with an earlier time.
                states[key] = states[key].filter(|state| state.ends() > now);
                live_on(&mut connection, &name, states[key], now).await;
                call.key(name).arg(&[quotas[key].limit, 60 * UNIT_MS]);
            }
            let mut met: Vec<_> = keys.iter().map(|&key| (states[key], quotas[key])).collect();
            let taken = take_all(&mut met, now, cost);
            assert!(taken.decision.reset_after <= WINDOW, "{taken:?}");
            for (&key, (state, _)) in keys.iter().zip(met) {
                states[key] = state;
            }
            let answer: (u64, usize, u64, u64, u64) = call.invoke_async(&mut connection).await.expect("an answer");
            let in_units = |(allowed, place, remaining, reset, retry): (u64, usize, u64, u64, u64)| {
                (allowed, place, remaining, reset.div_ceil(UNIT_MS), retry.div_ceil(UNIT_MS))
            };
            assert_eq!(in_units(answer), in_units(said(taken)), "seed {seed} step {step} cost {cost} {keys:?} {quotas:?}");
            if taken.decision.allowed { allowed += 1 } else { refused += 1 }
        }
    }
    assert!(allowed > 500 && refused > 500, "the traces say little: {allowed} allowed, {refused} refused");
}
