//! One HTTP request: what is sent beside the commands, and what comes back.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use hyper::{Method, Request, Response};
use redis::{ErrorKind, RedisError, RedisResult, Value};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value as Json;
use tokio::time::timeout;

use super::connection::{Connection, Connections};
use super::encoding;
use super::failure::Failure;
use crate::config::{self, SecretUrl};
use crate::redis::trouble::{News, Trouble};

/// Tells how far the primary was when it answered; sent back, a replica waits until it is as far: a client reads its writes.
const SYNC_TOKEN: HeaderName = HeaderName::from_static("upstash-sync-token");

/// Asks for strings in base64: they are bytes, and JSON has none.
const ENCODING: HeaderName = HeaderName::from_static("upstash-encoding");

/// Longest answer that is read: above what a batch of this server's commands can give.
const MAX_ANSWER_BYTES: usize = 16 * 1024 * 1024;

/// A body of commands and the path it is for.
pub(super) struct Body {
    pub(super) path: &'static str,
    pub(super) json: String,
    /// How many answers are expected; none for a single command, whose answer is not in an array.
    pub(super) answers: Option<usize>,
}

/// What each command of a body was answered.
type Answers = Vec<Result<Value, Failure>>;

/// Speaks to one database.
pub(super) struct Client {
    connections: Connections,
    prefix: String,
    headers: HeaderMap,
    sync_token: Mutex<HeaderValue>,
    answer_timeout: Duration,
    trouble: Trouble,
}

impl Client {
    pub(super) fn new(url: &SecretUrl, token: &SecretString, settings: &config::Redis) -> RedisResult<Self> {
        let url = url.expose();
        Ok(Self {
            connections: Connections::new(url, settings.connection_timeout)?,
            prefix: url.path().trim_end_matches('/').to_owned(),
            headers: headers(&url[url::Position::BeforeHost..url::Position::AfterPort], token)?,
            sync_token: Mutex::new(HeaderValue::from_static("")),
            answer_timeout: settings.command_timeout,
            trouble: Trouble::default(),
        })
    }

    /// How long an answer is waited for.
    pub(super) const fn answer_timeout(&self) -> Duration {
        self.answer_timeout
    }

    /// A connection that is there and that nobody uses.
    pub(super) async fn idle(&self) -> Option<Connection> {
        self.connections.idle().await
    }

    /// A new connection to send something on.
    pub(super) async fn connect(&self) -> Result<Connection, Failure> {
        let connection = self.connections.connect().await;
        if let Err(failure) = &connection {
            self.note(Some(failure));
        }
        connection
    }

    /// Closes the connections that nobody uses.
    pub(super) fn discard_idle(&self) {
        self.connections.discard_idle();
    }

    /// Gives back a connection on which nothing was sent.
    pub(super) fn keep(&self, connection: Connection) {
        self.connections.keep(connection);
    }

    /// Sends commands and reads the answers.
    pub(super) async fn send(&self, connection: Connection, body: Body) -> Result<Answers, Failure> {
        let answers = timeout(self.answer_timeout, self.exchange(connection, body)).await.unwrap_or(Err(Failure::Late));
        self.note(match &answers {
            Ok(answers) => answers.iter().find_map(|answer| answer.as_ref().err()),
            Err(failure) => Some(failure),
        });
        answers
    }

    async fn exchange(&self, connection: Connection, body: Body) -> Result<Answers, Failure> {
        let (connection, response) = self.request(connection, &body).await?;
        let status = response.status().as_u16();
        if let Some(token) = response.headers().get(SYNC_TOKEN) {
            *self.sync_token.lock().unwrap_or_else(PoisonError::into_inner) = token.clone();
        }
        let read = Limited::new(response.into_body(), MAX_ANSWER_BYTES).collect().await;
        let bytes = read.map_err(|_| Failure::Broken("in the middle of an answer".to_owned()))?.to_bytes();
        self.connections.keep(connection);
        match status {
            // A command's own error has status 400.
            200 | 400 => answers(status, &bytes, body.answers),
            401 | 403 => Err(Failure::TokenRefused(status)),
            429 => Err(Failure::TooManyRequests),
            _ => Err(Failure::Status(status)),
        }
    }

    /// Sends a request. Once anything of it was sent it is never sent again: it may have been carried out.
    async fn request(&self, mut connection: Connection, body: &Body) -> Result<(Connection, Response<Incoming>), Failure> {
        match connection.try_send_request(self.http_request(body)).await {
            Ok(response) => Ok((connection, response)),
            Err(mut error) => match error.take_message() {
                // The connection closed before anything was sent on it.
                Some(request) => {
                    let mut connection = self.connections.connect().await?;
                    let response = connection.send_request(request).await.map_err(|error| Failure::Broken(error.to_string()))?;
                    Ok((connection, response))
                }
                None => Err(Failure::Broken(error.into_error().to_string())),
            },
        }
    }

    fn http_request(&self, body: &Body) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::from(body.json.clone()));
        *request.method_mut() = Method::POST;
        // A URL's path with one of ours behind it is a path.
        *request.uri_mut() = format!("{}{}", self.prefix, body.path).parse().unwrap_or_default();
        *request.headers_mut() = self.headers.clone();
        let token = self.sync_token.lock().unwrap_or_else(PoisonError::into_inner).clone();
        request.headers_mut().insert(SYNC_TOKEN, token);
        request
    }

    /// Says in the log what is wrong when it begins or changes, and when it is over.
    fn note(&self, failure: Option<&Failure>) {
        match self.trouble.news(failure.filter(|failure| !failure.is_answer()).map(ToString::to_string)) {
            Some(News::Wrong(error)) => tracing::warn!(%error, "no answer from Upstash"),
            Some(News::Over) => tracing::info!("Upstash answers again"),
            None => {}
        }
    }
}

fn headers(host: &str, token: &SecretString) -> RedisResult<HeaderMap> {
    let refused = |what| move |_| RedisError::from((ErrorKind::InvalidClientConfig, what));
    let authorization = format!("Bearer {}", token.expose_secret());
    let mut authorization = HeaderValue::try_from(authorization).map_err(refused("the REST token is no token"))?;
    authorization.set_sensitive(true);
    let host = HeaderValue::try_from(host).map_err(refused("the REST URL's host is no name"))?;
    Ok(HeaderMap::from_iter([
        (HOST, host),
        (AUTHORIZATION, authorization),
        (CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (USER_AGENT, HeaderValue::from_static(concat!("agentapi/", env!("CARGO_PKG_VERSION")))),
        (ENCODING, HeaderValue::from_static("base64")),
    ]))
}

/// The answers in a body: one, one a command, or one error for all.
fn answers(status: u16, bytes: &[u8], expected: Option<usize>) -> Result<Answers, Failure> {
    let malformed = |what| Failure::Malformed { status, what };
    let json: Json = serde_json::from_slice(bytes).map_err(|_| malformed("the body is not JSON"))?;
    match (expected, &json) {
        (Some(expected), Json::Array(_)) => {
            let answers = encoding::answers(json, expected).map_err(malformed)?;
            Ok(answers.into_iter().map(|answer| answer.map_err(malformed)).collect())
        }
        (Some(_), _) => match encoding::answer(json).map_err(malformed)?.extract_error() {
            Err(error) => Err(Failure::Reply(error)),
            Ok(_) => Err(malformed("one result stands for several commands")),
        },
        (None, _) => Ok(vec![encoding::answer(json).map_err(malformed)]),
    }
}
