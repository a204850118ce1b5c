//! The agent, over HTTP.

use std::time::Duration;

use http_body_util::{BodyExt, Limited};
use hyper::body::Bytes;
use hyper::{Method, Request, Response, StatusCode, header};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use crate::cli::Failure;
use crate::domain::{AgentId, RemoteUrl, Service};
use crate::outbound::{Body, Outbound, OutboundError, Resolvers, Timeouts};

/// Longest answer that is read, but for streams.
const MAX_ANSWER_BYTES: usize = 64 * 1024;
/// How long an answer may take to begin: keys wait behind nothing.
const TIMEOUTS: Timeouts = Timeouts { total: Duration::from_secs(20), attempt: Duration::from_secs(10) };

/// An agent at an address.
pub(super) struct Remote {
    outbound: Outbound,
    service: Service,
    url: RemoteUrl,
    authorization: Option<header::HeaderValue>,
}

impl Remote {
    /// The agent at `url`, which may be written without `http://`.
    pub(super) fn new(url: &str, token: Option<SecretString>) -> Result<Self, Failure> {
        let written = if url.starts_with("http") { url.to_owned() } else { format!("http://{url}") };
        let url: RemoteUrl = written.parse().map_err(|error| {
            // With a password in it, it is not to be shown.
            let shown = if written.contains('@') { "…" } else { written.as_str() };
            format!("--url {shown} is not an agent's address: {error}; a token is given by AGENTAPI_TOKEN")
        })?;
        let authorization = token.map(|token| {
            let value = header::HeaderValue::from_str(&format!("Bearer {}", token.expose_secret()));
            value.map(|mut value| {
                value.set_sensitive(true);
                value
            })
        });
        Ok(Self {
            outbound: Outbound::new(None, Resolvers::default()),
            service: Service::Agent(AgentId::new()),
            authorization: authorization.transpose().map_err(|_| "the token has characters that no token has")?,
            url,
        })
    }

    /// Whether the agent is there and has a terminal.
    pub(super) async fn check(&self) -> Result<(), Failure> {
        let answer = self.ask(Method::GET, "/status", None).await?;
        let status = answer_of(answer).await?;
        if status["transport"] == "acp" {
            return Err("attach is not yet supported in ACP mode".into());
        }
        Ok(())
    }

    /// Its screens, as they change.
    pub(super) async fn screens(&self) -> Result<Body, Failure> {
        let answer = self.ask(Method::GET, "/internal/screen", None).await?;
        if answer.status() != StatusCode::OK {
            return Err(refused(answer).await);
        }
        Ok(answer.into_body())
    }

    /// Presses keys at its terminal.
    pub(super) async fn press(&self, keys: &str) -> Result<(), Failure> {
        let body = json!({"type": "raw", "content": keys}).to_string();
        answer_of(self.ask(Method::POST, "/message", Some(body)).await?).await?;
        Ok(())
    }

    async fn ask(&self, method: Method, path: &str, body: Option<String>) -> Result<Response<Body>, Failure> {
        let mut request = Request::builder().method(method).uri(self.url.route(path));
        if let Some(authorization) = &self.authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        let body = match body {
            Some(body) => {
                request = request.header(header::CONTENT_TYPE, "application/json");
                Body::from(Bytes::from(body))
            }
            None => Body::empty(),
        };
        let answer = self.outbound.call_within(self.service, request.body(body)?, TIMEOUTS).await;
        answer.map_err(|error: OutboundError| format!("cannot reach the agent at {}: {error}", self.url).into())
    }
}

/// The answer's body, if it succeeded.
async fn answer_of(answer: Response<Body>) -> Result<Value, Failure> {
    if !answer.status().is_success() {
        return Err(refused(answer).await);
    }
    let body = read(answer.into_body()).await?;
    Ok(serde_json::from_slice(&body).map_err(|_| "what answers there is no agent")?)
}

/// Why the server refuses, in its own words.
async fn refused(answer: Response<Body>) -> Failure {
    let status = answer.status();
    let body = read(answer.into_body()).await.unwrap_or_default();
    let problem: Value = serde_json::from_slice(&body).unwrap_or_default();
    let texts = [&problem["errors"][0]["message"], &problem["detail"], &problem["title"]];
    let why: String =
        texts.iter().find_map(|text| text.as_str()).unwrap_or_default().chars().filter(|c| !c.is_control()).collect();
    let hint = if status == StatusCode::UNAUTHORIZED { " (is AGENTAPI_TOKEN a token of this server?)" } else { "" };
    format!("the server refuses: {status} {why}{hint}").into()
}

async fn read(body: Body) -> Result<Bytes, Failure> {
    Ok(Limited::new(body, MAX_ANSWER_BYTES).collect().await?.to_bytes())
}
