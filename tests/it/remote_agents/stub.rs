//! A small server that speaks as coder/agentapi 0.12 does on the wire: no ids of events, no heartbeats, everything told again to whoever
//! connects, every failure of its agent a 500. Its agent says back what it is told.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Multipart, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use chrono::{DateTime, FixedOffset, Utc};
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use tokio::sync::broadcast;
use tokio_util::task::TaskTracker;

use super::faults::Faults;

/// The server, behind a connection that can be made to fail.
pub(crate) struct Stub {
    pub(crate) faults: Faults,
    state: Arc<Stubbed>,
}

pub(crate) struct Stubbed {
    token: Option<&'static str>,
    agent: Mutex<Agent>,
    news: broadcast::Sender<String>,
}

struct Agent {
    messages: Vec<Value>,
    status: &'static str,
    raw: String,
    uploads: Vec<(String, Vec<u8>)>,
    last_event_ids: u32,
}

impl Agent {
    fn new() -> Self {
        let mut agent =
            Self { messages: Vec::new(), status: "stable", raw: String::new(), uploads: Vec::new(), last_event_ids: 0 };
        agent.put(0, "agent", &rows("ready"));
        agent
    }

    /// Puts a message where it belongs; returns the event that tells of it.
    fn put(&mut self, id: usize, role: &str, content: &str) -> String {
        // As the server of somebody in New York writes it.
        let time: DateTime<FixedOffset> = Utc::now().with_timezone(&FixedOffset::west_opt(5 * 3600).expect("an offset"));
        let time = time.to_rfc3339_opts(chrono::SecondsFormat::Nanos, false);
        let message = json!({"id": id, "role": role, "message": content, "time": time});
        self.messages.truncate(id);
        self.messages.push(message.clone());
        event("message_update", &message)
    }

    fn status(&mut self, status: &'static str) -> String {
        self.status = status;
        event("status_change", &json!({"status": status, "agent_type": "claude"}))
    }
}

/// Text as it stands on the screen of a terminal: padded to its width.
fn rows(text: &str) -> String {
    text.lines().map(|line| format!("{line:80}")).collect::<Vec<_>>().join("\n")
}

fn event(name: &str, data: &Value) -> String {
    format!("event: {name}\ndata: {data}\n\n")
}

impl Stub {
    pub(crate) async fn start() -> Self {
        Self::start_with(None).await
    }

    /// One that a proxy in front of it guards with a token.
    pub(crate) async fn start_with(token: Option<&'static str>) -> Self {
        let state = Arc::new(Stubbed { token, agent: Mutex::new(Agent::new()), news: broadcast::channel(1024).0 });
        let router = Router::new()
            .route("/status", get(status))
            .route("/messages", get(messages))
            .route("/message", post(message))
            .route("/upload", post(upload))
            .route("/events", get(events))
            .route("/internal/screen", get(screen))
            .layer(from_fn_with_state(state.clone(), guard))
            .with_state(state.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let inner = listener.local_addr().expect("bound");
        TaskTracker::new().spawn(async move { axum::serve(listener, router).await });
        Self { faults: Faults::start(inner).await, state }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.faults.address)
    }

    /// The agent says something on its own, beneath the last message.
    pub(crate) fn says(&self, text: &str) {
        let id = self.agent().messages.len() - 1;
        self.tell(|agent| agent.put(id, "agent", &rows(text)));
    }

    /// Somebody else talks to it.
    pub(crate) fn is_told(&self, text: &str) {
        let next = self.agent().messages.len();
        self.tell(|agent| agent.put(next, "user", text));
        self.tell(|agent| agent.put(next + 1, "agent", &rows(&format!("you said {text}"))));
    }

    /// Its status changes.
    pub(crate) fn becomes(&self, status: &'static str) {
        self.tell(|agent| agent.status(status));
    }

    /// Sends what is no event of its protocol.
    pub(crate) fn sends(&self, text: &str) {
        let _nobody_listens = self.state.news.send(text.to_owned());
    }

    /// It is started again, and knows nothing of what was said.
    pub(crate) fn begins_anew(&self) {
        *self.agent() = Agent::new();
    }

    pub(crate) fn raw(&self) -> String {
        self.agent().raw.clone()
    }

    pub(crate) fn uploads(&self) -> Vec<(String, Vec<u8>)> {
        self.agent().uploads.clone()
    }

    fn agent(&self) -> MutexGuard<'_, Agent> {
        self.state.agent()
    }

    fn tell(&self, what: impl FnOnce(&mut Agent) -> String) {
        self.state.tell(what);
    }
}

impl Stubbed {
    fn agent(&self) -> MutexGuard<'_, Agent> {
        self.agent.lock().expect("no test panics with it")
    }

    fn tell(&self, what: impl FnOnce(&mut Agent) -> String) {
        let mut agent = self.agent();
        let event = what(&mut agent);
        let _nobody_listens = self.news.send(event);
    }
}

type Shared = State<Arc<Stubbed>>;

async fn guard(State(state): Shared, request: Request, next: Next) -> Response {
    let shown = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).map(str::to_owned);
    if state.token.is_some_and(|token| shown != Some(format!("Bearer {token}"))) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    next.run(request).await
}

fn failure(message: &str) -> Response {
    let body = json!({
        "title": "Internal Server Error", "status": 500, "detail": "unexpected error occurred", "errors": [{"message": message}],
    });
    (StatusCode::INTERNAL_SERVER_ERROR, [(header::CONTENT_TYPE, "application/problem+json")], body.to_string()).into_response()
}

async fn status(State(state): Shared) -> Json<Value> {
    Json(json!({"$schema": "x", "status": state.agent().status, "agent_type": "claude", "transport": "pty"}))
}

async fn messages(State(state): Shared) -> Json<Value> {
    Json(json!({"$schema": "x", "messages": state.agent().messages}))
}

async fn message(State(state): Shared, Json(body): Json<Value>) -> Response {
    let content = body["content"].as_str().expect("text").to_owned();
    if body["type"] == "raw" {
        state.agent().raw.push_str(&content);
        return Json(json!({"$schema": "x", "ok": true})).into_response();
    }
    if state.agent().status != "stable" {
        return failure("failed to send message: message can only be sent when the agent is waiting for user input");
    }
    state.tell(|agent| agent.status("running"));
    if content == "die" {
        return failure(
            "failed to send message: failed to send message: failed to wait for processing to start: timeout waiting for condition",
        );
    }
    let id = state.agent().messages.len();
    TaskTracker::new().spawn(async move {
        // It shows the message a moment after it has said that it took it.
        tokio::time::sleep(Duration::from_millis(50)).await;
        state.tell(|agent| agent.put(id, "user", &content));
        state.tell(|agent| agent.put(id + 1, "agent", ""));
        state.tell(|agent| agent.put(id + 1, "agent", &rows("you")));
        state.tell(|agent| agent.put(id + 1, "agent", &rows(&format!("you said {content}"))));
        state.tell(|agent| agent.status("stable"));
    });
    Json(json!({"$schema": "x", "ok": true})).into_response()
}

async fn upload(State(state): Shared, mut form: Multipart) -> Json<Value> {
    let field = form.next_field().await.expect("a form").expect("a part");
    assert_eq!(field.name(), Some("file"));
    let name = field.file_name().expect("a name").to_owned();
    let content = field.bytes().await.expect("a body").to_vec();
    state.agent().uploads.push((name.clone(), content));
    Json(json!({"$schema": "x", "ok": true, "filePath": format!("/tmp/agentapi-uploads-1/5891b5b522d5df08/{name}")}))
}

async fn events(State(state): Shared, request: Request) -> Response {
    let mut agent = state.agent();
    agent.last_event_ids += u32::from(request.headers().contains_key("last-event-id"));
    assert_eq!(agent.last_event_ids, 0, "it never gave an id");
    let mut first: Vec<String> = agent.messages.iter().map(|message| event("message_update", message)).collect();
    first.push(event("status_change", &json!({"status": agent.status, "agent_type": "claude"})));
    first.push(event("agent_error", &json!({"message": "an old one", "level": "warning", "time": "2026-04-10T15:52:23-05:00"})));
    let news =
        stream::unfold(state.news.subscribe(), |mut news| async move { news.recv().await.ok().map(|event| (event, news)) });
    drop(agent);
    streamed(stream::iter(first).chain(news))
}

async fn screen() -> Response {
    let screens = ["one", "two"].map(|screen| event("screen", &json!({"screen": screen})));
    streamed(stream::iter(screens).chain(stream::pending()))
}

fn streamed(events: impl futures_util::Stream<Item = String> + Send + 'static) -> Response {
    let headers = [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-cache, no-store, must-revalidate")];
    (headers, Body::from_stream(events.map(Ok::<_, std::convert::Infallible>))).into_response()
}
