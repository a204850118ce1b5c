//! A client of the API.

use std::time::Duration;

use reqwest::{Method, StatusCode, header};
use serde_json::{Value, json};

use super::{EventStream, PASSWORD, Server, eventually};

/// What the first operator logs in with.
pub(crate) fn operators_login() -> Value {
    json!({"tenant": "default", "email": "admin@localhost", "password": PASSWORD})
}

/// A client, logged in or not.
#[derive(Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    url: String,
    pub(crate) token: Option<String>,
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: header::HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    /// The answer's body, if it succeeded.
    #[track_caller]
    pub(crate) fn ok(self) -> Value {
        assert!(self.status.is_success(), "{} {}", self.status, self.text);
        if self.text.is_empty() { Value::Null } else { self.json() }
    }

    /// The problem's code, if it is a well-formed problem of this status.
    #[track_caller]
    pub(crate) fn problem(&self, status: u16) -> String {
        let body = self.json();
        assert_eq!(self.status.as_u16(), status, "{body}");
        assert_eq!(self.header("content-type"), "application/problem+json");
        assert_eq!(body["status"], status);
        assert_eq!(body["request_id"], self.header("x-request-id"));
        assert!(body["title"].is_string(), "{body}");
        body["code"].as_str().expect("a code").to_owned()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("text"))
    }
}

/// How long a connection that is not used is kept: less than the server keeps one.
const MAX_IDLE: Duration = Duration::from_secs(60);

impl Client {
    pub(crate) fn new(url: &str) -> Self {
        // An idle connection is let go before the server does so, which could meet a request on its way.
        let http = reqwest::Client::builder().timeout(super::PATIENCE).pool_idle_timeout(MAX_IDLE).build().expect("a client");
        Self { http, url: url.to_owned(), token: None }
    }

    /// The same client, showing this token.
    pub(crate) fn with_token(&self, token: &str) -> Self {
        Self { token: Some(token.to_owned()), ..self.clone() }
    }

    /// The same, asking another server.
    pub(crate) fn at(&self, server: &Server) -> Self {
        Self { url: server.url.clone(), ..self.clone() }
    }

    pub(crate) async fn log_in(&self, tenant: &str, email: &str, password: &str) -> Self {
        let body = json!({"tenant": tenant, "email": email, "password": password});
        let answer = self.post("/v1/auth/login", body).await.ok();
        self.with_token(answer["token"].as_str().expect("a token"))
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.url));
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    pub(crate) async fn send(&self, request: reqwest::RequestBuilder) -> Answer {
        let response = request.send().await.expect("an answer");
        let (status, headers) = (response.status(), response.headers().clone());
        Answer { status, headers, text: response.text().await.expect("a body") }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(self.request(Method::GET, path)).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.send(self.request(Method::DELETE, path)).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        self.send(self.request(Method::POST, path).json(&body)).await
    }

    pub(crate) async fn post_nothing(&self, path: &str) -> Answer {
        self.send(self.request(Method::POST, path)).await
    }

    /// Starts a custom agent. Returns its path.
    pub(crate) async fn start_agent(&self, command: &[&str]) -> String {
        let answer = self.post("/v1/agents", json!({"type": "custom", "command": command})).await;
        let location = answer.header("location").to_owned();
        answer.ok();
        location
    }

    /// Starts an agent that echoes each line after "you said ".
    pub(crate) async fn start_echo_agent(&self) -> String {
        let path = self.start_agent(&["bash", "-c", "while read -rp '> ' line; do echo \"you said $line\"; done"]).await;
        self.stable(&path).await;
        path
    }

    /// Waits until an agent takes messages.
    pub(crate) async fn stable(&self, agent: &str) {
        let mut events = self.events(agent).await;
        events.until("stable", |event| event.name == "status_change" && event.data["status"] == "stable").await;
    }

    /// Says something to an agent and waits for it to settle.
    pub(crate) async fn say(&self, agent: &str, text: &str) {
        self.post(&format!("{agent}/message"), json!({"type": "user", "content": text})).await.ok();
        self.stable(agent).await;
    }

    /// Roles and contents of an agent's messages.
    pub(crate) async fn conversation(&self, agent: &str) -> Vec<(String, String)> {
        let body = self.get(&format!("{agent}/messages")).await.ok();
        let text = |value: &Value| value.as_str().expect("text").trim().to_owned();
        body["messages"].as_array().expect("messages").iter().map(|m| (text(&m["role"]), text(&m["content"]))).collect()
    }

    /// How the client's session is answered: 200 while it lives.
    pub(crate) async fn session_status(&self) -> u16 {
        self.get("/v1/auth/session").await.status.as_u16()
    }

    /// Waits until the client's session is over.
    pub(crate) async fn session_ends(&self) {
        eventually("the session ends", || async { (self.session_status().await == 401).then_some(()) }).await;
    }

    pub(crate) async fn events(&self, agent: &str) -> EventStream {
        EventStream::open(self.request(Method::GET, &format!("{agent}/events"))).await
    }

    /// Waits until an agent is in `state`. Returns the agent.
    pub(crate) async fn in_state(&self, agent: &str, state: &str) -> Value {
        eventually(state, || async {
            let body = self.get(agent).await.ok();
            (body["state"] == state).then_some(body)
        })
        .await
    }
}
