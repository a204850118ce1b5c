//! `GET /messages`

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use serde::Serialize;

use super::reply::Schemas;
use super::{SingleAgent, time};
use crate::domain::{Message, MessageRole};

#[derive(Serialize)]
struct MessagesResponseBody {
    messages: Vec<MessageBody>,
}

#[derive(Serialize)]
struct MessageBody {
    id: i64,
    content: Arc<str>,
    role: MessageRole,
    time: String,
}

impl From<&Message> for MessageBody {
    fn from(message: &Message) -> Self {
        Self { id: message.id, content: Arc::clone(&message.content), role: message.role, time: time::shown(message.time) }
    }
}

/// The whole conversation.
pub(super) async fn get_messages(State(app): State<SingleAgent>, schemas: Schemas) -> Response {
    let messages = app.agent.messages().iter().map(MessageBody::from).collect();
    schemas.reply("MessagesResponseBody", MessagesResponseBody { messages })
}
