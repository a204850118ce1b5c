//! What others wait for while one address or network floods the server.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use reqwest::Method;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio_util::task::TaskTracker;

use super::report::{P50, P99, Table, millis, quantile};
use super::server::{Place, Server};
use super::support::{Client, PASSWORD};
use super::{Effort, Failure};

/// Connections that ask for nothing, and such that send the head of a request slowly.
const IDLE: usize = 9000;
const SLOW: usize = 500;
/// Most that a health check should take meanwhile, in seconds.
const HEALTH_GOAL: f64 = 0.1;

/// Log-ins of the flood that are under way at once, each from a /64 of its own in one /48.
const LOGINS: u32 = 1200;
/// Most that a log-in of another tenant should take meanwhile, in seconds.
const LOGIN_GOAL: f64 = 1.0;

pub(crate) async fn measure(effort: Effort) -> Result<Table, Failure> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })?;
    let mut table = Table::with_goals("Floods: what others wait for");
    let show = |seconds: f64| millis(Duration::from_secs_f64(seconds));
    effort.tell(&format!("floods: {IDLE} idle connections and {SLOW} slow heads"));
    let health = health(effort.choose(500, 50)).await?;
    table.figure("`GET /livez` from another address, p50", &millis(quantile(&health, P50)));
    table.goal("the same, p99", (quantile(&health, P99).as_secs_f64(), HEALTH_GOAL), show);
    table.goal("the same, slowest", (health.last().copied().unwrap_or_default().as_secs_f64(), HEALTH_GOAL), show);
    effort.tell(&format!("floods: {LOGINS} log-ins at once"));
    let logins = logins(effort.choose(100, 20)).await?;
    table.figure("log-in of another tenant, p50", &millis(quantile(&logins.took, P50)));
    table.goal("the same, p99", (quantile(&logins.took, P99).as_secs_f64(), LOGIN_GOAL), show);
    table.note(format!(
        "While one address holds {IDLE} idle connections and {SLOW} on which the head of a request is not complete; it may hold as many \
         here, which is ten times the default. Each check is a new connection."
    ));
    table.note(format!(
        "While {LOGINS} log-ins are under way all the time, from as many /64 of one /48, with rate limits that they do not reach: of the \
         flood {} passwords were looked at, {} log-ins refused with 503.",
        logins.tried, logins.refused
    ));
    Ok(table)
}

async fn health(count: usize) -> Result<Vec<Duration>, Failure> {
    let place = Place::new(&[("AGENTAPI_MAX_CONNECTIONS_PER_ADDRESS", "10000")])?;
    let server = place.start()?;
    let to: SocketAddr = server.url.trim_start_matches("http://").parse()?;
    let mut held = Vec::with_capacity(IDLE + SLOW);
    for number in 0..IDLE + SLOW {
        let mut stream = TcpStream::connect(to).await?;
        if number < SLOW {
            stream.write_all(b"GET /livez HTTP/1.1\r\nHost: local").await?;
        }
        held.push(stream);
    }
    let mut took = Vec::with_capacity(count);
    for _ in 0..count {
        let began = Instant::now();
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2)), 0))?;
        let mut stream = socket.connect(to).await?;
        stream.write_all(b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        if !answer.starts_with("HTTP/1.1 200") {
            return Err(format!("a health check is answered with {answer:?}").into());
        }
        took.push(began.elapsed());
    }
    drop(held);
    server.stop()?;
    took.sort_unstable();
    Ok(took)
}

struct Logins {
    took: Vec<Duration>,
    tried: usize,
    refused: usize,
}

async fn logins(count: usize) -> Result<Logins, Failure> {
    let place = Place::new(&[("TRUSTED_PROXIES", "127.0.0.0/8"), ("AGENTAPI_MAX_CONNECTIONS_PER_ADDRESS", "10000")])?;
    let server = place.start()?;
    let (is_over, counts) = (Arc::new(AtomicBool::new(false)), Arc::new((AtomicUsize::new(0), AtomicUsize::new(0))));
    let tasks = TaskTracker::new();
    let flood: Vec<_> = (0..LOGINS)
        .map(|number| {
            let (client, is_over, counts) = (server.anonymous(), Arc::clone(&is_over), Arc::clone(&counts));
            tasks.spawn(async move {
                while !is_over.load(Ordering::Relaxed) {
                    let from = format!("2001:db8:1:{number:x}::1");
                    let status = log_in(&client, &from, &format!("user{number}@localhost"), "wrong password").await;
                    let count = if status == 401 { &counts.0 } else { &counts.1 };
                    count.fetch_add(1, Ordering::Relaxed);
                    // A client that is refused comes back a moment later.
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
            })
        })
        .collect();
    let other = server.anonymous();
    let mut took = Vec::with_capacity(count);
    for _ in 0..count {
        let began = Instant::now();
        let status = log_in(&other, "192.0.2.1", "admin@localhost", PASSWORD).await;
        if status != 200 {
            return Err(format!("the other tenant's log-in is answered with {status}").into());
        }
        took.push(began.elapsed());
    }
    is_over.store(true, Ordering::Relaxed);
    for task in flood {
        task.await?;
    }
    server.stop()?;
    took.sort_unstable();
    Ok(Logins { took, tried: counts.0.load(Ordering::Relaxed), refused: counts.1.load(Ordering::Relaxed) })
}

async fn log_in(client: &Client, from: &str, email: &str, password: &str) -> u16 {
    let request = client.request(Method::POST, "/v1/auth/login").header("x-forwarded-for", from);
    client.send(request.json(&json!({"tenant": "default", "email": email, "password": password}))).await.status.as_u16()
}

impl Server {
    fn anonymous(&self) -> Client {
        Client::new(&self.url)
    }
}
