//! A look-alike of Upstash's REST API before a Redis of a test's own: its paths, encodings, errors and limits, what it does to
//! scripts, and faults on purpose. Upstash's own clients for Node.js are run against it (`upstash_look_alike.rs`).

mod commands;
mod connections;
mod reply;
mod scripts;

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures_util::StreamExt;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::{Method, Request, Response, StatusCode};
use redis::aio::MultiplexedConnection;
use serde_json::{Value as Json, json};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::commands::Command;
use self::scripts::Scripts;
use super::TestRedis;
use super::redis::connect;

/// Requests that are remembered, the first since somebody asked for them.
const MAX_SEEN: usize = 1_000;

/// Largest request.
const MAX_BODY_BYTES: usize = 10 * 1024 * 1024;

type Body = BoxBody<Bytes, io::Error>;

/// What goes wrong, with every request, until it is changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing.
    None,
    /// A status without a body that anybody could read.
    Status(u16),
    /// The answer comes late.
    Late(Duration),
    /// The answer's JSON ends in its middle.
    CutJson,
    /// The connection ends in the middle of the answer.
    CutBody,
    /// Somebody else answers.
    NotJson,
    /// The connection ends before the answer.
    Closed,
}

/// A request that was let in: its path, and its commands as text.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) path: String,
    pub(crate) commands: Vec<Vec<String>>,
    pub(crate) headers: hyper::HeaderMap,
}

/// The look-alike. It is gone when dropped.
pub(crate) struct Upstash {
    server: Arc<Server>,
    port: u16,
    tls: Option<tokio_rustls::TlsAcceptor>,
    running: CancellationToken,
    tasks: TaskTracker,
}

struct Server {
    token: Mutex<String>,
    redis: MultiplexedConnection,
    scripts: Mutex<Scripts>,
    fault: Mutex<Fault>,
    seen: Mutex<Vec<Seen>>,
    answered: AtomicU64,
}

impl Upstash {
    pub(crate) const TOKEN: &str = "look-alike-t0ken";

    /// Starts before `redis`.
    pub(crate) async fn start(redis: &TestRedis) -> Self {
        Self::before(&redis.url()).await
    }

    /// Starts before `redis`, speaking TLS.
    pub(crate) async fn start_with(redis: &TestRedis, tls: Option<tokio_rustls::TlsAcceptor>) -> Self {
        Self::listening(&redis.url(), tls).await
    }

    /// Starts before the Redis at `url`.
    pub(crate) async fn before(url: &str) -> Self {
        Self::listening(url, None).await
    }

    async fn listening(redis: &str, tls: Option<tokio_rustls::TlsAcceptor>) -> Self {
        let server = Arc::new(Server {
            token: Mutex::new(Self::TOKEN.to_owned()),
            redis: connect(redis).await,
            scripts: Mutex::default(),
            fault: Mutex::new(Fault::None),
            seen: Mutex::default(),
            answered: AtomicU64::new(0),
        });
        let mut upstash =
            Self { server, port: super::free_port(), tls, running: CancellationToken::new(), tasks: TaskTracker::new() };
        upstash.listen().await;
        upstash
    }

    pub(crate) fn url(&self) -> String {
        match &self.tls {
            Some(_) => format!("https://localhost:{}", self.port),
            None => format!("http://127.0.0.1:{}", self.port),
        }
    }

    /// The settings that lead to it.
    pub(crate) fn variables(&self) -> [(&'static str, String); 3] {
        [
            ("REDIS_PROTOCOL", "rest".to_owned()),
            ("UPSTASH_REDIS_REST_URL", self.url()),
            ("UPSTASH_REDIS_REST_TOKEN", Self::TOKEN.to_owned()),
        ]
    }

    /// Lets every request from now on go wrong.
    pub(crate) fn fault(&self, fault: Fault) {
        *lock(&self.server.fault) = fault;
    }

    /// Takes another token from now on.
    pub(crate) fn change_token(&self, token: &str) {
        token.clone_into(&mut lock(&self.server.token));
    }

    /// The requests since this was last asked.
    pub(crate) fn take_seen(&self) -> Vec<Seen> {
        std::mem::take(&mut *lock(&self.server.seen))
    }

    /// Ends all connections, and refuses others.
    pub(crate) async fn stop(&self) {
        self.running.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Is there again, at the same place.
    pub(crate) async fn restart(&mut self) {
        self.tasks.reopen();
        self.running = CancellationToken::new();
        self.listen().await;
    }

    async fn listen(&mut self) {
        let server = self.server.clone();
        let handle = move |request| handle(server.clone(), request);
        connections::listen(self.port, self.tls.clone(), &self.tasks, &self.running, handle).await;
    }
}

impl Drop for Upstash {
    fn drop(&mut self) {
        self.running.cancel();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no test panics with it")
}

/// Answers a request. An error ends the connection without an answer.
async fn handle(server: Arc<Server>, request: Request<Incoming>) -> io::Result<Response<Body>> {
    let fault = *lock(&server.fault);
    match fault {
        Fault::Closed => return Err(io::Error::other("closed on purpose")),
        Fault::Status(status) => return Ok(respond(status, "<html>no JSON</html>".to_owned())),
        Fault::NotJson => return Ok(respond(200, "<html>Welcome to the hotel</html>".to_owned())),
        Fault::Late(delay) => tokio::time::sleep(delay).await,
        Fault::None | Fault::CutJson | Fault::CutBody => {}
    }
    let (status, json) = server.answer(request).await;
    let text = json.to_string();
    let half = text[..text.len() / 2].to_owned();
    let mut response = match fault {
        Fault::CutJson => respond(status, half),
        Fault::CutBody => {
            let frames = futures_util::stream::iter([half]).map(|half| Ok(Frame::data(Bytes::from(half))));
            // What comes before is on its way once the stream has let the connection wait.
            let cut = futures_util::stream::once(async {
                tokio::task::yield_now().await;
                Err(io::Error::other("cut on purpose"))
            });
            Response::new(BodyExt::boxed(StreamBody::new(frames.chain(cut))))
        }
        _ => respond(status, text),
    };
    let answered = server.answered.fetch_add(1, Ordering::Relaxed);
    response.headers_mut().insert("upstash-sync-token", format!("primary-{answered}").parse().expect("text"));
    Ok(response)
}

fn respond(status: u16, text: String) -> Response<Body> {
    let body = Full::from(text).map_err(|never| match never {}).boxed();
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(status).expect("a status");
    response.headers_mut().insert("content-type", "application/json".parse().expect("text"));
    response
}

fn error(status: u16, text: &str) -> (u16, Json) {
    (status, json!({"error": text}))
}

impl Server {
    fn see(&self, path: &str, commands: &[Command], headers: hyper::HeaderMap) {
        let mut seen = lock(&self.seen);
        if seen.len() < MAX_SEEN {
            seen.push(Seen { path: path.to_owned(), commands: commands.iter().map(Command::text).collect(), headers });
        }
    }

    async fn answer(&self, request: Request<Incoming>) -> (u16, Json) {
        let (head, body) = request.into_parts();
        if ![Method::GET, Method::HEAD, Method::POST, Method::PUT].contains(&head.method) {
            return error(405, "ERR method not allowed");
        }
        let query: Vec<(String, String)> =
            form_urlencoded::parse(head.uri.query().unwrap_or_default().as_bytes()).into_owned().collect();
        let bearer = head.headers.get("authorization").and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
        let shown = query.iter().find(|(name, _)| name == "_token").map(|(_, token)| token.as_str());
        if bearer.or(shown) != Some(lock(&self.token).as_str()) {
            return error(401, "WRONGPASS invalid or missing auth token");
        }
        let Ok(body) = http_body_util::Limited::new(body, MAX_BODY_BYTES).collect().await else {
            return error(400, "ERR max request size exceeded");
        };
        let base64 = head.headers.get("upstash-encoding").is_some_and(|value| value == "base64");
        let body = body.to_bytes();
        let path = head.uri.path().to_owned();
        let commands = match path.as_str() {
            "/" => commands::array(&body).map(|command| vec![command]),
            "/pipeline" | "/multi-exec" => commands::arrays(&body),
            _ => Ok(vec![commands::path(&path, &query, &body)]),
        };
        let commands = match commands {
            Ok(commands) => commands,
            Err(text) => return error(400, text),
        };
        self.see(&path, &commands, head.headers);
        let encode = |value| reply::json(value, base64);
        match path.as_str() {
            "/pipeline" => (200, Json::Array(self.run(commands).await.into_iter().map(encode).collect())),
            "/multi-exec" => match self.transact(commands).await {
                Ok(values) => (200, Json::Array(values.into_iter().map(encode).collect())),
                Err(text) => error(200, &text),
            },
            _ => {
                let json = encode(self.run(commands).await.remove(0));
                (if json.get("error").is_some() { 400 } else { 200 }, json)
            }
        }
    }
}
