//! A stand-in for the model providers: what agents ask of them, answered without a model and always in the same way.
//!
//! It takes the first line of the user's last message. `RUN <command>` has the agent run a shell command and then say what came
//! of it; `WRITE <file>` is answered with an edit that makes the file, for agents that read edits from the text; anything else is
//! repeated: `Stand-in heard: <line>`.

mod anthropic;
mod openai_chat;
mod openai_responses;

use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// A running stand-in; gone when dropped.
pub(crate) struct StandIn {
    /// Its address, without a path.
    pub(crate) url: String,
    _server: JoinSet<()>,
}

impl StandIn {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let routes = Router::new()
            .route("/v1/models", get(models))
            .route("/v1/messages", post(anthropic::messages))
            .route("/v1/messages/count_tokens", post(anthropic::count_tokens))
            .route("/v1/chat/completions", post(openai_chat::completions))
            .route("/v1/responses", post(openai_responses::responses));
        let mut server = JoinSet::new();
        server.spawn(async move { axum::serve(listener, routes).await.expect("it serves") });
        Self { url, _server: server }
    }
}

/// The one model there is.
async fn models() -> Json<Value> {
    Json(
        json!({"object": "list", "models": [], "data": [{"id": "stand-in", "type": "model", "object": "model", "owned_by": "tests"}]}),
    )
}

/// What a request comes down to, whatever the protocol.
#[derive(Debug, Default)]
struct Turn {
    /// The user's last message.
    asked: String,
    /// What a tool put out since then.
    ran: Option<String>,
    /// Tools on offer, with the schema of their parameters.
    tools: Vec<(String, Value)>,
}

/// What the model answers.
enum Answer {
    Text(String),
    Tool { name: String, arguments: Value },
}

impl Turn {
    /// The user said something. Agents put notes of their own, which begin with a tag, among the user's words.
    fn hear(&mut self, text: &str) {
        let text = text.trim();
        if !text.is_empty() && !text.starts_with('<') {
            text.lines().next().unwrap_or_default().clone_into(&mut self.asked);
            self.ran = None;
        }
    }

    fn answer(&self) -> Answer {
        if let Some(output) = &self.ran {
            return Answer::Text(format!("Stand-in ran it, and it said: {}", result_of(output)));
        }
        if let Some(file) = self.asked.strip_prefix("WRITE ") {
            let edit = "<<<<<<< SEARCH\n=======\nWritten by the stand-in.\n>>>>>>> REPLACE";
            return Answer::Text(format!("{file}\n```\n{edit}\n```\n"));
        }
        let (asked, unconfined) = self.asked.strip_prefix("UNCONFINED ").map_or((&*self.asked, false), |asked| (asked, true));
        let shell = asked.strip_prefix("RUN ").and_then(|command| {
            self.tools.iter().find_map(|(name, schema)| Some((name.clone(), shell_arguments(schema, command, unconfined)?)))
        });
        match shell {
            Some((name, arguments)) => Answer::Tool { name, arguments },
            None => Answer::Text(format!("Stand-in heard: {}", self.asked)),
        }
    }
}

/// The last word of a tool's output: agents wrap it in notes of their own.
fn result_of(output: &str) -> &str {
    output.split_whitespace().last().unwrap_or("nothing")
}

/// Arguments for a tool that runs a shell command, outside the agent's sandbox if it is to be `unconfined`; nothing for other tools.
fn shell_arguments(schema: &Value, command: &str, unconfined: bool) -> Option<Value> {
    let properties = schema["properties"].as_object()?;
    let key = ["command", "cmd"].into_iter().find(|key| properties.contains_key(*key))?;
    let value = if properties[key]["type"] == "array" { json!(["bash", "-c", command]) } else { json!(command) };
    let mut arguments = Map::from_iter([(key.to_owned(), value)]);
    for required in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        arguments.entry(required).or_insert_with(|| json!("as the user asked"));
    }
    if unconfined && properties.contains_key("sandbox_permissions") {
        arguments.insert("sandbox_permissions".to_owned(), json!("require_escalated"));
        arguments.insert("justification".to_owned(), json!("the user asked for it"));
    }
    Some(Value::Object(arguments))
}

/// The text of a message's content, which is a text or a list of parts.
fn text_of(content: &Value) -> Vec<&str> {
    match content {
        Value::String(text) => vec![text],
        Value::Array(parts) => parts.iter().filter_map(|part| part["text"].as_str()).collect(),
        _ => Vec::new(),
    }
}

/// A new id: agents take two things with one id for one.
fn id(prefix: &str) -> String {
    format!("{prefix}_{}", uuid::Uuid::now_v7().simple())
}

fn streams(request: &Value) -> bool {
    request["stream"] == true
}

/// Server-sent events, each named unless its name is empty.
fn event_stream(events: impl IntoIterator<Item = (&'static str, String)>) -> Response {
    let write = |(name, data): (&str, String)| {
        if name.is_empty() { format!("data: {data}\n\n") } else { format!("event: {name}\ndata: {data}\n\n") }
    };
    let body: String = events.into_iter().map(write).collect();
    ([("content-type", "text/event-stream")], body).into_response()
}

/// Events whose names are also in their data, as `type`.
fn typed_events(events: impl IntoIterator<Item = (&'static str, Value)>) -> Response {
    event_stream(events.into_iter().map(|(name, mut data)| {
        data["type"] = json!(name);
        (name, data.to_string())
    }))
}
