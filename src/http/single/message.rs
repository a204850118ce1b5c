//! `POST /message`

use axum::extract::{Request, State};
use axum::response::Response;
use serde::Serialize;

use super::SingleAgent;
use super::message_body::{self, MessageBody, MessageType};
use super::reply::{Refusal, Schemas};
use crate::agent::SendError;

#[derive(Serialize)]
struct MessageResponseBody {
    ok: bool,
}

/// Says something to the agent. A user message is answered once the agent has begun to work on it.
pub(super) async fn post_message(State(app): State<SingleAgent>, schemas: Schemas, request: Request) -> Response {
    match send(&app, request).await {
        Ok(()) => schemas.reply("MessageResponseBody", MessageResponseBody { ok: true }),
        Err(refusal) => schemas.refuse(refusal),
    }
}

async fn send(app: &SingleAgent, request: Request) -> Result<(), Refusal> {
    let MessageBody { content, kind } = message_body::read(request).await?;
    let sent = match kind {
        MessageType::User => app.agent.send_user(&content).await,
        MessageType::Raw => app.agent.send_raw(&content).await,
    };
    sent.map_err(|error| {
        tracing::warn!(%error, "a message was not sent");
        Refusal::failed(format!("failed to send message: {}", text(&error)))
    })
}

/// What clients of the protocol are told, and some look for.
fn text(error: &SendError) -> String {
    match error {
        SendError::Unresponsive => {
            "failed to send message: failed to wait for processing to start: timeout waiting for condition".to_owned()
        }
        SendError::Empty
        | SendError::TooLong
        | SendError::Busy
        | SendError::Asks
        | SendError::Ended
        | SendError::NoKeys
        | SendError::Remote(_) => error.to_string(),
    }
}
