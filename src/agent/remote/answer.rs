//! What a remote agent's server answers, in our words.

use std::time::Duration;

use http_body_util::{BodyExt, Limited};
use hyper::Response;
use hyper::body::Bytes;
use serde::Deserialize;
use tokio::time::timeout;

use super::RemoteError;
use crate::agent::live::SendError;
use crate::outbound::Body;

/// Longest answer that is read.
const MAX_ANSWER: usize = 64 * 1024;

/// How long its body may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Longest that is told of a server's own words.
const MAX_WORDS: usize = 300;

/// What coder/agentapi says, as 500, when its agent is busy.
const BUSY: &str = "message can only be sent when the agent is waiting for user input";

/// What it says, as 500, when its agent did not react.
const UNRESPONSIVE: &str = "timeout waiting for condition";

/// An error answer, as far as both kinds of servers have it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Problem {
    code: Option<String>,
    detail: Option<String>,
    errors: Vec<FieldError>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct FieldError {
    message: Option<String>,
}

/// The body of an answer, which must have a status of success. Of one that breaks off, nothing: what was asked for is done.
pub(super) async fn body(answer: Response<Body>) -> Result<Bytes, SendError> {
    let status = answer.status().as_u16();
    let body = read(answer).await.unwrap_or_default();
    if (200..300).contains(&status) { Ok(body) } else { Err(refusal(status, &body)) }
}

async fn read(answer: Response<Body>) -> Option<Bytes> {
    let read = timeout(PATIENCE, Limited::new(answer.into_body(), MAX_ANSWER).collect()).await;
    Some(read.ok()?.ok()?.to_bytes())
}

fn refusal(status: u16, body: &[u8]) -> SendError {
    let problem: Problem = serde_json::from_slice(body).unwrap_or_default();
    let says = |words: &str| problem.errors.iter().any(|error| error.message.as_deref().is_some_and(|text| text.contains(words)));
    match (status, problem.code.as_deref()) {
        (409, Some("agent_busy")) => SendError::Busy,
        (409, Some("agent_asks")) => SendError::Asks,
        (409, Some("agent_not_running")) => SendError::Remote(RemoteError::Ended),
        (504, Some("agent_unresponsive")) => SendError::Unresponsive,
        (500, _) if says(BUSY) => SendError::Busy,
        (500, _) if says(UNRESPONSIVE) => SendError::Unresponsive,
        (413, _) => SendError::Remote(RemoteError::Rejected("it is too large".to_owned())),
        (400, _) if problem.detail.as_deref().is_some_and(|detail| detail.contains("exceeds")) => {
            SendError::Remote(RemoteError::Rejected("it is too large".to_owned()))
        }
        (422, _) => {
            let words = problem.errors.into_iter().find_map(|error| error.message).or(problem.detail);
            SendError::Remote(RemoteError::Rejected(plain(&words.unwrap_or_default())))
        }
        (status, _) => SendError::Remote(RemoteError::Answered(status)),
    }
}

/// Words of a server that is not ours, cut to what is worth telling.
fn plain(words: &str) -> String {
    let words: String = words.chars().filter(|c| !c.is_control()).take(MAX_WORDS).collect();
    if words.is_empty() { "it does not say why".to_owned() } else { words }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn coder(message: &str) -> String {
        format!(
            r#"{{"title":"Internal Server Error","status":500,"detail":"unexpected error occurred","errors":[{{"message":"{message}"}}]}}"#
        )
    }

    #[test]
    fn both_kinds_of_servers_are_understood() {
        let remote = SendError::Remote;
        for (status, body, expected) in [
            (409, r#"{"code":"agent_busy"}"#.to_owned(), SendError::Busy),
            (409, r#"{"code":"agent_asks"}"#.to_owned(), SendError::Asks),
            (500, coder(&format!("failed to send message: {BUSY}")), SendError::Busy),
            (504, r#"{"code":"agent_unresponsive"}"#.to_owned(), SendError::Unresponsive),
            (500, coder(&format!("failed to send message: {UNRESPONSIVE}")), SendError::Unresponsive),
            (409, r#"{"code":"agent_not_running"}"#.to_owned(), remote(RemoteError::Ended)),
            (
                422,
                r#"{"errors":[{"message":"unexpected property","location":"body.x"}]}"#.to_owned(),
                remote(RemoteError::Rejected("unexpected property".to_owned())),
            ),
            (422, "\u{1b}[31m".to_owned(), remote(RemoteError::Rejected("it does not say why".to_owned()))),
            (
                400,
                r#"{"detail":"file size exceeds 10MB limit"}"#.to_owned(),
                remote(RemoteError::Rejected("it is too large".to_owned())),
            ),
            (409, "agent_busy".to_owned(), remote(RemoteError::Answered(409))),
            (500, coder("something else"), remote(RemoteError::Answered(500))),
            (302, String::new(), remote(RemoteError::Answered(302))),
        ] {
            assert_eq!(refusal(status, body.as_bytes()), expected, "{status} {body}");
        }
        let long = format!(r#"{{"detail":"{}"}}"#, "\\u0007x".repeat(1000));
        assert_eq!(refusal(422, long.as_bytes()), remote(RemoteError::Rejected("x".repeat(MAX_WORDS))));
    }
}
