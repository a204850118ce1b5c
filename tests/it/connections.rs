//! How many connections are open at once, of whom, and which are closed for others.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpSocket, TcpStream};
use tokio::process::Command;

use crate::support::{PATIENCE, Server, ServerBuilder, TestDatabase, TestRedis, eventually};

const FLOOD: Ipv4Addr = Ipv4Addr::LOCALHOST;
const OTHER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// Lets this process have as many files open as it may.
fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).expect("a limit may be raised to its maximum");
}

fn address(url: &str) -> SocketAddr {
    url.trim_start_matches("http://").parse().expect("an address")
}

/// A connection from one of this machine's addresses.
async fn connect(from: Ipv4Addr, to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(SocketAddr::V4(SocketAddrV4::new(from, 0))).expect("an address of this machine");
    tokio::time::timeout(PATIENCE, socket.connect(to)).await.expect("connects in time").expect("is listened to")
}

async fn send(stream: &mut TcpStream, text: &str) {
    stream.write_all(text.as_bytes()).await.expect("is read");
}

/// Reads an answer of which the body's length is known. Nothing if the connection is closed before it.
async fn read_answer(stream: &mut TcpStream) -> Option<String> {
    let mut answer = Vec::new();
    let complete = async {
        loop {
            let text = String::from_utf8_lossy(&answer).into_owned();
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let length =
                    head.to_lowercase().lines().find_map(|line| line.strip_prefix("content-length: ").map(str::to_owned));
                if length.is_some_and(|length| body.len() >= length.parse::<usize>().expect("a length")) {
                    return Some(text);
                }
            }
            match stream.read_buf(&mut answer).await {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    };
    tokio::time::timeout(PATIENCE, complete).await.expect("is answered or closed in time")
}

async fn get(stream: &mut TcpStream, path: &str) -> Option<String> {
    send(stream, &format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")).await;
    read_answer(stream).await
}

/// A connection on which a request is under way: its body does not come.
async fn busy(from: Ipv4Addr, server: &Server) -> TcpStream {
    let mut stream = connect(from, address(&server.url)).await;
    let head =
        "POST /v1/auth/login HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{";
    send(&mut stream, head).await;
    stream
}

/// Waits until this many requests are under way.
async fn until_busy(server: &Server, count: usize) {
    let line = format!("agentapi_connections{{state=\"busy\"}} {}", count + 1);
    eventually("the requests are under way", || async {
        let metrics = server.anonymous().get("/metrics").await.text;
        metrics.lines().any(|shown| shown == line).then_some(())
    })
    .await;
}

async fn is_closed(stream: &mut TcpStream) -> bool {
    let mut rest = Vec::new();
    matches!(tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest)).await, Ok(Ok(0) | Err(_)))
}

fn limited(database: &TestDatabase, total: usize, per_address: usize) -> ServerBuilder {
    ServerBuilder::new(database)
        .env("AGENTAPI_MAX_CONNECTIONS", &total.to_string())
        .env("AGENTAPI_MAX_CONNECTIONS_PER_ADDRESS", &per_address.to_string())
}

#[tokio::test]
async fn idle_connections_of_one_address_stop_no_other() {
    raise_open_files();
    let server = ServerBuilder::new(&TestDatabase::create().await).start().await;
    let to = address(&server.url);
    // More than a server serves at once. Those that the kernel keeps in its queue do not open at once: they are left to it.
    let mut held = Vec::new();
    for number in 0..10_050 {
        let Ok(mut stream) = tokio::time::timeout(Duration::from_secs(5), TcpStream::connect(to)).await.expect("connects") else {
            break;
        };
        if number % 20 == 0 {
            // Refused ones are closed already.
            let _ = stream.write_all(b"GET /livez HTTP/1.1\r\nHost: local").await;
        }
        held.push(stream);
    }
    for from in [OTHER, FLOOD] {
        let answer = get(&mut connect(from, to).await, "/livez").await.expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 200"), "{from}: {answer}");
    }
    drop(held);
}

#[tokio::test]
async fn address_at_its_bound_loses_its_oldest_idle_connection() {
    let server = limited(&TestDatabase::create().await, 100, 4).start().await;
    let to = address(&server.url);
    let mut held = Vec::new();
    for _ in 0..4 {
        let mut stream = connect(OTHER, to).await;
        assert!(get(&mut stream, "/livez").await.is_some());
        held.push(stream);
    }
    let mut first = held.remove(0);
    // The oldest is used once more, and so is not the one that has been idle for longest.
    assert!(get(&mut first, "/livez").await.is_some());
    let mut one_more = connect(OTHER, to).await;
    assert!(get(&mut one_more, "/livez").await.is_some());
    assert!(is_closed(&mut held.remove(0)).await);
    for stream in held.iter_mut().chain([&mut first]) {
        assert!(get(stream, "/livez").await.is_some(), "the others stay open");
    }
}

#[tokio::test]
async fn address_whose_connections_are_all_busy_is_refused() {
    let server = limited(&TestDatabase::create().await, 100, 4).start().await;
    let mut held = Vec::new();
    for _ in 0..4 {
        held.push(busy(OTHER, &server).await);
    }
    until_busy(&server, 4).await;
    let mut refused = connect(OTHER, address(&server.url)).await;
    let answer = read_answer(&mut refused).await.expect("an answer before any request");
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("\r\nRetry-After: "), "{answer}");
    assert!(answer.contains("too many connections from this address"), "{answer}");
    assert!(get(&mut connect(FLOOD, address(&server.url)).await, "/livez").await.is_some());
    let metrics = server.anonymous().get("/metrics").await.text;
    assert!(metrics.lines().any(|line| line == "agentapi_connections_refused_total{reason=\"address\"} 1"), "{metrics}");
}

#[tokio::test]
async fn trusted_proxy_has_no_bound_of_its_own() {
    let server = limited(&TestDatabase::create().await, 100, 2).env("TRUSTED_PROXIES", "127.0.0.2/32").start().await;
    let mut held = Vec::new();
    for _ in 0..10 {
        let mut stream = connect(OTHER, address(&server.url)).await;
        assert!(get(&mut stream, "/livez").await.is_some());
        held.push(stream);
    }
    for stream in &mut held {
        assert!(get(stream, "/livez").await.is_some());
    }
}

#[tokio::test]
async fn full_server_closes_the_oldest_idle_connection() {
    let server = limited(&TestDatabase::create().await, 20, 20).start().await;
    let to = address(&server.url);
    let mut held = Vec::new();
    for number in 0..40 {
        let mut stream = connect(Ipv4Addr::new(127, 0, 1, number), to).await;
        assert!(get(&mut stream, "/livez").await.is_some(), "connection {number}");
        held.push(stream);
    }
    assert!(is_closed(&mut held[0]).await);
    assert!(get(&mut held[39], "/livez").await.is_some());
}

#[tokio::test]
async fn full_server_keeps_places_for_health_checks() {
    let server = limited(&TestDatabase::create().await, 20, 20).start().await;
    let mut held = Vec::new();
    for number in 0..40 {
        held.push(busy(Ipv4Addr::new(127, 0, 1, number), &server).await);
    }
    eventually("it is full", || async {
        let mut stream = connect(OTHER, address(&server.url)).await;
        let answer = get(&mut stream, "/openapi.json").await?;
        answer.starts_with("HTTP/1.1 503").then(|| assert!(answer.contains("service_unavailable"), "{answer}"))
    })
    .await;
    for path in ["/livez", "/readyz", "/status", "/metrics"] {
        // Connections of the flood may still be in those places for a moment.
        let answer = eventually(path, || async {
            let answer = get(&mut connect(OTHER, address(&server.url)).await, path).await?;
            answer.starts_with("HTTP/1.1 200").then_some(answer)
        })
        .await;
        assert!(answer.to_lowercase().contains("\r\nconnection: close\r\n"), "{path}: {answer}");
    }
}

#[tokio::test]
async fn most_connections_follow_the_limit_of_open_files() {
    raise_open_files();
    let program = env!("CARGO_BIN_EXE_agentapi");
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -n 200 && exec \"$0\" server --port 0 -- cat", program]).kill_on_drop(true);
    let mut process = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it starts");
    let mut said = BufReader::new(process.stdout.take().expect("piped")).lines();
    let line = tokio::time::timeout(PATIENCE, said.next_line()).await.expect("ready in time").expect("text").expect("a line");
    let to = address(line.strip_prefix("agentapi is ready at ").expect("a URL"));
    let mut held = Vec::new();
    for number in 0..400_u16 {
        let [high, low] = number.to_be_bytes();
        held.push(connect(Ipv4Addr::new(127, 0, 1 + high, low), to).await);
    }
    let answer = get(&mut connect(OTHER, to).await, "/status").await.expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn connections_of_other_servers_do_not_count_for_their_address() {
    let (database, redis) = (TestDatabase::create().await, TestRedis::start().await);
    let builder = ServerBuilder::new(&database).redis(&redis).env("TOKEN_ENCRYPTION_KEY", &"c".repeat(64));
    let owner = builder.clone().env("AGENTAPI_MAX_CONNECTIONS_PER_ADDRESS", "3").start().await;
    let other = builder.sibling().start().await;
    let client = owner.operator().await;
    let agent = client.start_agent(&["cat"]).await;
    client.stable(&agent).await;
    let mut streams = Vec::new();
    for _ in 0..8 {
        let mut stream = client.at(&other).events(&agent).await;
        stream.until("it is served", |event| event.name == "status_change").await;
        streams.push(stream);
    }
}
