//! Calls to other services, over real TCP, to upstreams that go wrong.

mod upstream;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use agentapi::circuit_breaker::{CircuitBreakers, MemoryCircuitStore};
use agentapi::config::Config;
use agentapi::domain::{AgentId, ReplicaId, Service, TenantId};
use agentapi::outbound::{Body, Outbound, OutboundError, Resolve, ResolveError, Resolvers, SystemResolver, Timeouts};
use async_trait::async_trait;
use futures_util::future::join_all;
use futures_util::stream;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Bytes, Frame};
use hyper::{Method, Request, Response};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use self::upstream::{Mode, Upstream};
use crate::support::{PATIENCE, eventually, free_port};

const TIMEOUTS: Timeouts = Timeouts { total: Duration::from_secs(10), attempt: Duration::from_millis(300) };

/// How long a circuit is open the first time.
const OPEN: Duration = Duration::from_millis(600);

fn outbound() -> Outbound {
    outbound_with(Resolvers::default())
}

fn outbound_with(resolvers: Resolvers) -> Outbound {
    let variables = BTreeMap::from([("CIRCUIT_BREAKER_TIMEOUT".to_owned(), format!("{}ms", OPEN.as_millis()))]);
    let settings = Config::from_variables(&variables).expect("valid").circuit_breaker;
    let store = Arc::new(MemoryCircuitStore::default());
    Outbound::new(CircuitBreakers::new(store, &settings, None, TaskTracker::new()), resolvers)
}

fn service() -> Service {
    Service::Agent(AgentId::new())
}

fn get(url: &str) -> Request<Body> {
    request(Method::GET, url, Body::empty())
}

fn request(method: Method, url: &str, body: Body) -> Request<Body> {
    Request::builder().method(method).uri(url).body(body).expect("a request")
}

async fn call(outbound: &Outbound, service: Service, request: Request<Body>) -> Result<Response<Body>, OutboundError> {
    tokio::time::timeout(PATIENCE, outbound.call_within(service, request, TIMEOUTS)).await.expect("it ends")
}

async fn text(answer: Response<Body>) -> String {
    String::from_utf8(answer.into_body().collect().await.expect("a body").to_bytes().to_vec()).expect("text")
}

/// Fails in such a way, and is then well again: returns what calls fail with, the longest of them, how long a call takes that an
/// open circuit refuses, and how long it takes after it is well until it is called again.
async fn fails_and_heals(mut upstream: Upstream, fault: Option<Mode>, post: bool) -> (String, [Duration; 3]) {
    let (outbound, service) = (outbound(), service());
    let method = if post { Method::POST } else { Method::GET };
    let ask = || call(&outbound, service, request(method.clone(), &upstream.url("/x"), Body::empty()));
    assert_eq!(text(ask().await.expect("it is well")).await, "ok");
    match &fault {
        Some(mode) => upstream.becomes(mode.clone()),
        None => upstream.stop().await,
    }
    let (mut said, mut longest) = (String::new(), Duration::ZERO);
    let left = loop {
        let start = Instant::now();
        match ask().await {
            Err(OutboundError::CircuitOpen { retry_after }) => break retry_after,
            Err(error) => error.as_str().clone_into(&mut said),
            Ok(answer) => said = answer.status().as_u16().to_string(),
        }
        longest = longest.max(start.elapsed());
    };
    assert!(left <= OPEN.mul_f64(1.1), "{left:?}");
    // While it is open the upstream hears nothing.
    let (before, start, mut refused) = (upstream.requests(), Instant::now(), Duration::MAX);
    while start.elapsed() < left / 2 {
        let asked = Instant::now();
        let answer = ask().await;
        if start.elapsed() < left {
            assert!(matches!(answer, Err(OutboundError::CircuitOpen { .. })), "{answer:?}");
            assert_eq!(upstream.requests(), before);
            refused = refused.min(asked.elapsed());
        }
        tokio::task::yield_now().await;
    }
    match fault {
        Some(_) => upstream.becomes(Upstream::WELL),
        None => upstream.restart().await,
    }
    let well = Instant::now();
    let ask = || call(&outbound, service, request(method.clone(), &upstream.url("/x"), Body::empty()));
    // Half-open, half-open, closed.
    for _ in 0..3 {
        eventually("it is called again", || async { ask().await.ok().filter(|answer| answer.status() == 200) }).await;
    }
    (said, [longest, refused, well.elapsed()])
}

#[tokio::test]
async fn time_to_fail_and_time_to_recover() {
    println!("fault, method: failure, longest failing call, refused by the open circuit, well to called again");
    for (name, fault, said) in [
        ("refuses connections", None, "connect"),
        ("resets", Some(Mode::Reset), "broken"),
        ("answers with garbage", Some(Mode::Garbage), "broken"),
        ("hangs", Some(Mode::Hang), "timeout"),
        ("is too slow", Some(Mode::Slow(Duration::from_secs(2))), "timeout"),
        ("500", Some(Mode::Answer(500, "")), "500"),
        ("503", Some(Mode::Answer(503, "")), "503"),
    ] {
        for post in [false, true] {
            let (outcome, [longest, refused, again]) = fails_and_heals(Upstream::start().await, fault.clone(), post).await;
            assert_eq!(outcome, said, "{name}");
            // An attempt's time, or two waits before further attempts; on a busy machine some more.
            assert!(longest < TIMEOUTS.attempt * 5, "{name}: {longest:?}");
            assert!(refused < Duration::from_millis(50), "{name}: {refused:?}");
            assert!(again < OPEN * 10, "{name}: {again:?}");
            let method = if post { "POST" } else { "GET" };
            println!("{name}, {method}: {outcome}, {longest:.1?}, {refused:.1?}, {again:.1?}");
        }
    }
}

#[tokio::test]
async fn a_slow_answer_in_time_and_an_error_of_the_callers_are_no_failures() {
    let (upstream, outbound, service) = (Upstream::start().await, outbound(), service());
    for mode in [Mode::Slow(Duration::from_millis(50)), Mode::Answer(404, ""), Mode::Answer(422, ""), Mode::Answer(429, "")] {
        upstream.becomes(mode);
        for _ in 0..8 {
            call(&outbound, service, get(&upstream.url("/"))).await.expect("an answer");
        }
    }
    assert_eq!(upstream.requests(), 32);
}

#[tokio::test]
async fn a_service_that_asks_for_a_pause_gets_it_but_a_replicas_users_do_not_hold_back_each_other() {
    let (upstream, outbound) = (Upstream::start().await, outbound());
    upstream.becomes(Mode::Answer(429, "retry-after: 60\r\n"));
    let named = Service::upstream(TenantId::new(), "http", "127.0.0.1", 1);
    assert_eq!(call(&outbound, named, get(&upstream.url("/"))).await.expect("an answer").status(), 429);
    let error = call(&outbound, named, get(&upstream.url("/"))).await.expect_err("held back");
    assert!(matches!(error, OutboundError::HeldBack { retry_after } if retry_after <= OPEN), "{error:?}");
    let replica = Service::Replica(ReplicaId::new());
    for _ in 0..3 {
        assert_eq!(call(&outbound, replica, get(&upstream.url("/"))).await.expect("an answer").status(), 429);
    }
    assert_eq!(upstream.requests(), 4);
}

#[tokio::test]
async fn only_what_may_be_sent_twice_is_tried_again_and_within_the_budget() {
    let (upstream, outbound) = (Upstream::start().await, outbound());
    upstream.becomes(Mode::Answer(503, ""));
    for (method, attempts) in [(Method::GET, 3), (Method::DELETE, 3), (Method::PUT, 3), (Method::POST, 1), (Method::PATCH, 1)] {
        let before = upstream.requests();
        let body = Body::from(Bytes::from_static(b"same"));
        call(&outbound, service(), request(method.clone(), &upstream.url("/"), body)).await.expect("an answer");
        assert_eq!(upstream.requests() - before, attempts, "{method}");
    }
    // What can be read once only is sent once only.
    let before = upstream.requests();
    let body = Body::stream(StreamBody::new(stream::iter([Ok::<_, std::io::Error>(Frame::data(Bytes::from_static(b"once")))])));
    call(&outbound, service(), request(Method::PUT, &upstream.url("/"), body)).await.expect("an answer");
    assert_eq!(upstream.requests() - before, 1);
    // And where it says when to come again, not before.
    let before = upstream.requests();
    upstream.becomes(Mode::Answer(503, "retry-after: 1\r\n"));
    call(&outbound, service(), get(&upstream.url("/"))).await.expect("an answer");
    assert_eq!(upstream.requests() - before, 1);
    // However many fail, each a service of its own so that no circuit opens: load grows by some, not threefold.
    upstream.becomes(Mode::Answer(503, ""));
    let before = upstream.requests();
    for _ in 0..20 {
        join_all((0..50).map(|_| call(&outbound, service(), get(&upstream.url("/"))))).await;
    }
    let sent = upstream.requests() - before;
    assert!((1000..1300).contains(&sent), "{sent} for 1000 calls");
}

#[tokio::test]
async fn a_stream_outlives_the_deadlines_and_comes_no_faster_than_it_is_read() {
    let (upstream, outbound) = (Upstream::start().await, outbound());
    let timeouts = Timeouts { total: Duration::from_millis(200), attempt: Duration::from_millis(200) };
    upstream.becomes(Mode::Stream(5, Duration::from_millis(60), 10));
    let answer = outbound.call_within(service(), get(&upstream.url("/events")), timeouts).await.expect("an answer");
    assert_eq!(text(answer).await.len(), 50, "600 ms after it began");
    upstream.becomes(Mode::Stream(1_000_000, Duration::ZERO, 200));
    let answer = call(&outbound, service(), get(&upstream.url("/"))).await.expect("an answer");
    let stalled = eventually("the upstream is held up", || async {
        let before = upstream.sent();
        tokio::time::sleep(Duration::from_millis(100)).await;
        (before > 0 && upstream.sent() == before).then_some(before)
    })
    .await;
    assert!(stalled < 100_000_000, "{stalled} of 200 MB were taken though nobody read");
    let mut body = answer.into_body();
    let mut read = 0;
    while let Some(frame) = body.frame().await {
        read += frame.expect("a frame").data_ref().map_or(0, Bytes::len);
    }
    assert_eq!(read, 200_000_000);
}

#[tokio::test]
async fn a_request_is_streamed_and_whoever_breaks_it_off_is_not_the_services_failure() {
    let (upstream, outbound, service) = (Upstream::start().await, outbound(), service());
    upstream.becomes(Mode::Echo);
    let frames = ["a", "b", "c"].map(|part| Ok::<_, std::io::Error>(Frame::data(Bytes::from(part))));
    let body = Body::stream(StreamBody::new(stream::iter(frames)));
    let answer = call(&outbound, service, request(Method::POST, &upstream.url("/"), body)).await.expect("an answer");
    assert_eq!(text(answer).await, "1\r\na\r\n1\r\nb\r\n1\r\nc\r\n0\r\n\r\n");
    for _ in 0..8 {
        let frames = [Ok(Frame::data(Bytes::from("a"))), Err(std::io::Error::other("gone"))];
        let body = Body::stream(StreamBody::new(stream::iter(frames)));
        let error = call(&outbound, service, request(Method::POST, &upstream.url("/"), body)).await.expect_err("broken off");
        assert_eq!(error, OutboundError::Aborted);
    }
    call(&outbound, service, get(&upstream.url("/"))).await.expect("closed still");
}

#[tokio::test]
async fn calls_that_are_given_up_say_nothing_and_free_their_places() {
    let (upstream, outbound, service) = (Upstream::start().await, outbound(), service());
    let brief = Duration::from_millis(20);
    upstream.becomes(Mode::Hang);
    for _ in 0..8 {
        let given_up = tokio::time::timeout(brief, outbound.call(service, get(&upstream.url("/")))).await;
        assert!(given_up.is_err(), "{given_up:?}");
    }
    // Five that are not given up open it; then probes are given up.
    while !matches!(call(&outbound, service, get(&upstream.url("/"))).await, Err(OutboundError::CircuitOpen { .. })) {}
    tokio::time::sleep(OPEN.mul_f64(1.1)).await;
    let before = upstream.requests();
    eventually("several probes were given up", || async {
        let _given_up = tokio::time::timeout(brief, outbound.call(service, get(&upstream.url("/")))).await;
        (upstream.requests() >= before + 12).then_some(())
    })
    .await;
    upstream.becomes(Upstream::WELL);
    eventually("it is called again", || async { call(&outbound, service, get(&upstream.url("/"))).await.ok() }).await;
}

#[tokio::test]
async fn a_service_that_hangs_does_not_take_all_places() {
    let (upstream, outbound, hanging) = (Upstream::start().await, outbound(), service());
    upstream.becomes(Mode::Hang);
    let timeouts = Timeouts { total: Duration::from_secs(2), attempt: Duration::from_secs(2) };
    let calls =
        (0..300).map(|_| outbound.call_within(hanging, request(Method::POST, &upstream.url("/"), Body::empty()), timeouts));
    let calls = join_all(calls);
    let others = async {
        eventually("many hang", || async { (upstream.requests() >= 200).then_some(()) }).await;
        upstream.becomes(Upstream::WELL);
        call(&outbound, service(), get(&upstream.url("/"))).await
    };
    let (hung, other) = tokio::join!(calls, others);
    assert_eq!(other.expect("an answer").status(), 200);
    let refused = hung.iter().filter(|result| matches!(result, Err(OutboundError::Overloaded))).count();
    assert_eq!(refused, 300 - 256);
}

/// Refuses what it is asked for, and counts how often it is asked.
#[derive(Default)]
struct Refusing(AtomicU32);

#[async_trait]
impl Resolve for Refusing {
    async fn resolve(&self, host: &str, _: u16) -> Result<Vec<SocketAddr>, ResolveError> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Err(ResolveError::Refused(format!("{host} is private")))
    }
}

#[tokio::test]
async fn refused_addresses_are_not_connected_to_whoever_else_may() {
    let (upstream, refusing) = (Upstream::start().await, Arc::new(Refusing::default()));
    let outbound = outbound_with(Resolvers { named_by_users: refusing.clone(), replicas: Arc::new(SystemResolver) });
    // A connection stands, and is kept.
    let replica = Service::Replica(ReplicaId::new());
    text(call(&outbound, replica, get(&upstream.url("/"))).await.expect("an answer")).await;
    let named = Service::upstream(TenantId::new(), "http", "127.0.0.1", upstream.address.port());
    for _ in 0..8 {
        // It is no failure of the service: the circuit stays closed.
        let error = call(&outbound, named, get(&upstream.url("/"))).await.expect_err("refused");
        assert_eq!(error, OutboundError::Refused("127.0.0.1 is private".to_owned()));
    }
    let local = format!("http://[::1]:{}/", upstream.address.port());
    let error = call(&outbound, named, get(&local)).await.expect_err("refused");
    assert_eq!(error, OutboundError::Refused("::1 is private".to_owned()));
    assert_eq!((upstream.requests(), refusing.0.load(Ordering::Relaxed)), (1, 9));
}

#[tokio::test]
async fn redirects_are_answers_and_what_is_no_url_is_said() {
    let (upstream, outbound) = (Upstream::start().await, outbound());
    upstream.becomes(Mode::Answer(302, "location: http://127.0.0.1:1/\r\n"));
    let answer = call(&outbound, service(), get(&upstream.url("/"))).await.expect("an answer");
    assert_eq!((answer.status().as_u16(), &answer.headers()["location"]), (302, &"http://127.0.0.1:1/".parse().expect("text")));
    for wrong in ["/relative", "ftp://127.0.0.1/"] {
        let error = call(&outbound, service(), get(wrong)).await.expect_err("no URL");
        assert!(matches!(error, OutboundError::Invalid(_)), "{error:?}");
    }
    let nowhere = format!("http://127.0.0.1:{}/", free_port());
    let error = call(&outbound, service(), get(&nowhere)).await.expect_err("nobody is there");
    assert!(matches!(&error, OutboundError::Connect(why) if why.contains("refused")), "{error:?}");
}

#[tokio::test]
async fn what_is_about_one_connection_is_not_passed_on() {
    let (upstream, outbound) = (Upstream::start().await, outbound());
    upstream.becomes(Mode::EchoHead);
    let request = Request::builder()
        .uri(upstream.url("/path?query=1"))
        .header("host", "elsewhere.example")
        .header("connection", "close, x-mine")
        .header("x-mine", "1")
        .header("te", "trailers")
        .header("upgrade", "websocket")
        .header("x-kept", "1")
        .body(Body::empty())
        .expect("a request");
    let answer = call(&outbound, service(), request).await.expect("an answer");
    assert!(answer.headers().contains_key("x-kept"));
    assert!(["connection", "x-this-connection"].iter().all(|name| !answer.headers().contains_key(*name)), "{answer:?}");
    let head = text(answer).await;
    let mut lines: Vec<&str> = head.trim().lines().collect();
    lines.sort_unstable();
    let host = format!("host: {}", upstream.address);
    assert_eq!(lines, ["get /path?query=1 http/1.1", host.as_str(), "x-kept: 1"]);
}

#[tokio::test]
async fn a_hang_opens_the_circuit_also_where_one_attempt_may_take_all_the_time() {
    let (upstream, outbound, service) = (Upstream::start().await, outbound(), service());
    upstream.becomes(Mode::Hang);
    let all = Duration::from_millis(100);
    let timeouts = Timeouts { total: all, attempt: all };
    for _ in 0..5 {
        let error = outbound.call_within(service, get(&upstream.url("/")), timeouts).await.expect_err("it hangs");
        assert_eq!(error, OutboundError::Timeout);
    }
    let error = outbound.call_within(service, get(&upstream.url("/")), timeouts).await.expect_err("it is open");
    assert!(matches!(error, OutboundError::CircuitOpen { .. }), "{error:?}");
    assert_eq!(upstream.requests(), 5);
}

#[tokio::test]
async fn connections_are_kept_and_used_again() {
    let (upstream, outbound, service) = (Upstream::start().await, outbound(), service());
    let counting = Arc::new(Counting::default());
    let counted = outbound_with(Resolvers { named_by_users: counting.clone(), ..Resolvers::default() });
    for _ in 0..20 {
        text(call(&counted, service, get(&upstream.url("/"))).await.expect("an answer")).await;
    }
    assert_eq!(counting.0.load(Ordering::Relaxed), 1, "looked up once");
    drop(outbound);
}

/// Counts how often it is asked.
#[derive(Default)]
struct Counting(AtomicU32);

#[async_trait]
impl Resolve for Counting {
    async fn resolve(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, ResolveError> {
        self.0.fetch_add(1, Ordering::Relaxed);
        SystemResolver.resolve(host, port).await
    }
}
