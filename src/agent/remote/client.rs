//! Calls to the server of a remote agent.

use std::time::Duration;

use hyper::body::Bytes;
use hyper::header::{self, HeaderValue};
use hyper::{Method, Request, Response};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use super::{RemoteError, answer, form};
use crate::agent::live::SendError;
use crate::domain::{AgentId, RemoteUrl, Service};
use crate::outbound::{Body, Outbound, OutboundError};

/// How long a stream may take to begin.
const STREAM: Duration = Duration::from_secs(5);

/// How long a message may take: coder/agentapi tries for 17 seconds to have its agent react.
const MESSAGE: Duration = Duration::from_secs(24);

/// Longest path of a file that is passed on.
const MAX_PATH: usize = 4096;

/// A remote agent, as far as it can be called.
pub(super) struct Client {
    outbound: Outbound,
    service: Service,
    url: RemoteUrl,
    /// Marked as sensitive.
    authorization: Option<HeaderValue>,
}

/// A user message, or keystrokes.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum MessageType {
    User,
    Raw,
}

#[derive(Serialize)]
struct Message<'a> {
    #[serde(rename = "type")]
    kind: MessageType,
    content: &'a str,
}

#[derive(Deserialize)]
struct Uploaded {
    #[serde(rename = "filePath")]
    file_path: String,
}

impl Client {
    /// Calls the agent at `url`, showing `token`.
    pub(super) fn new(outbound: Outbound, id: AgentId, url: RemoteUrl, token: Option<&SecretString>) -> Self {
        let bearer = |token: &SecretString| HeaderValue::try_from(format!("Bearer {}", token.expose_secret())).ok();
        let mut authorization = token.and_then(bearer);
        if let Some(value) = &mut authorization {
            value.set_sensitive(true);
        }
        Self { outbound, service: Service::Agent(id), url, authorization }
    }

    /// The stream of events after `last`, or from the beginning.
    pub(super) async fn events(&self, last: Option<&str>) -> Result<Body, RemoteError> {
        // A server of ours for one agent begins anew unless it is asked to go on; others do not know the question.
        self.stream("/events?resume=true", last).await
    }

    /// The stream of its screens.
    pub(super) async fn screens(&self) -> Result<Body, RemoteError> {
        self.stream("/internal/screen", None).await
    }

    /// Says something to the agent.
    pub(super) async fn say(&self, kind: MessageType, content: &str) -> Result<(), SendError> {
        let body = serde_json::to_vec(&Message { kind, content }).unwrap_or_default();
        let request = self.post("/message", "application/json", body.into())?;
        let answer = self.outbound.call_once(self.service, request, MESSAGE).await.map_err(RemoteError::from)?;
        answer::body(answer).await.map(drop)
    }

    /// Puts a file where the agent can read it. Returns its path there.
    pub(super) async fn upload(&self, name: &str, content: &[u8]) -> Result<String, SendError> {
        let (content_type, body) = form::file(name, content);
        let request = self.post("/upload", &content_type, body)?;
        let answer = self.outbound.call_once(self.service, request, MESSAGE).await.map_err(RemoteError::from)?;
        let uploaded: Option<Uploaded> = serde_json::from_slice(&answer::body(answer).await?).ok();
        let path = uploaded.map(|uploaded| uploaded.file_path).filter(|path| (1..=MAX_PATH).contains(&path.len()));
        path.ok_or(SendError::Remote(RemoteError::NotAgentApi("it does not say where the file is")))
    }

    async fn stream(&self, path: &str, last: Option<&str>) -> Result<Body, RemoteError> {
        let mut request = self.request(Method::GET, path, Body::empty())?;
        request.headers_mut().insert(header::ACCEPT, HeaderValue::from_static("text/event-stream"));
        if let Some(last) = last.and_then(|last| HeaderValue::from_str(last).ok()) {
            request.headers_mut().insert("last-event-id", last);
        }
        let answer = self.outbound.call_once(self.service, request, STREAM).await?;
        match answer.status().as_u16() {
            200 if is_event_stream(&answer) => Ok(answer.into_body()),
            200 => Err(RemoteError::NotAgentApi("it answers with no stream of events")),
            // There is nothing to tell, and will not be (HTML standard, 9.2.5).
            204 => Err(RemoteError::Ended),
            status => Err(RemoteError::Answered(status)),
        }
    }

    fn post(&self, path: &str, content_type: &str, body: Bytes) -> Result<Request<Body>, RemoteError> {
        let mut request = self.request(Method::POST, path, body.into())?;
        let content_type = HeaderValue::from_str(content_type).map_err(|_| OutboundError::Invalid("its content type"))?;
        request.headers_mut().insert(header::CONTENT_TYPE, content_type);
        Ok(request)
    }

    fn request(&self, method: Method, path: &str, body: Body) -> Result<Request<Body>, RemoteError> {
        let request = Request::builder().method(method).uri(self.url.route(path)).body(body);
        let mut request = request.map_err(|_| OutboundError::Invalid("its URI"))?;
        if let Some(authorization) = &self.authorization {
            request.headers_mut().insert(header::AUTHORIZATION, authorization.clone());
        }
        Ok(request)
    }
}

fn is_event_stream(answer: &Response<Body>) -> bool {
    answer.headers().get(header::CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"text/event-stream"))
}
