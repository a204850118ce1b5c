//! `GET /status`

use axum::extract::State;
use axum::response::Response;
use serde::Serialize;

use super::SingleAgent;
use super::reply::Schemas;
use crate::domain::{AgentStatus, AgentType, Transport};

#[derive(Serialize)]
struct StatusResponseBody {
    status: AgentStatus,
    agent_type: AgentType,
    transport: Transport,
}

/// Whether the agent takes a message.
pub(super) async fn get_status(State(app): State<SingleAgent>, schemas: Schemas) -> Response {
    let agent = &app.agent;
    let body = StatusResponseBody { status: agent.status(), agent_type: agent.agent_type(), transport: agent.transport() };
    schemas.reply("StatusResponseBody", body)
}
