//! What the agent tells and asks.

use agent_client_protocol::v1::Responder;
use agent_client_protocol::v1::schema::{
    ContentBlock, ContentChunk, CreateTerminalRequest, CreateTerminalResponse, EmbeddedResourceResource, ErrorCode,
    KillTerminalRequest, KillTerminalResponse, ReadTextFileRequest, ReadTextFileResponse, ReleaseTerminalRequest,
    ReleaseTerminalResponse, RequestPermissionRequest, SessionId, SessionNotification, SessionUpdate, TerminalOutputRequest,
    WaitForTerminalExitRequest, WaitForTerminalExitResponse, WriteTextFileRequest, WriteTextFileResponse,
};
use agent_client_protocol::{Error, UntypedMessage};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::approvals::Approvals;
use super::bounded;
use super::life::Life;
use crate::domain::TimelineKind;

/// What the agent sent of its own accord.
pub(super) enum Inbound {
    Notification(UntypedMessage),
    Request(Box<(UntypedMessage, Responder)>),
}

impl Life {
    /// Takes what the agent sent.
    pub(super) fn inbound(&mut self, inbound: Inbound) {
        match inbound {
            Inbound::Notification(UntypedMessage { method, params }) if method == "session/update" => {
                match serde_json::from_value::<SessionNotification>(params) {
                    Ok(told) => self.update(told),
                    // One of a later version of the protocol, or nonsense.
                    Err(_) => tracing::debug!("an update of an agent cannot be read"),
                }
            }
            Inbound::Notification(_) => {}
            Inbound::Request(request) => {
                let (UntypedMessage { method, params }, responder) = *request;
                self.request(&method, params, responder);
            }
        }
    }

    fn update(&mut self, SessionNotification { session_id, update, .. }: SessionNotification) {
        let is_ours = self.session.as_ref() == Some(&session_id);
        match update {
            SessionUpdate::AvailableCommandsUpdate(commands) => self.about_session("commands", &commands),
            SessionUpdate::CurrentModeUpdate(mode) => self.about_session("mode", &mode),
            SessionUpdate::ConfigOptionUpdate(options) => self.about_session("config_options", &options),
            SessionUpdate::SessionInfoUpdate(info) => self.about_session("info", &info),
            // While a session is loaded, what was said in it is told again: we have it.
            _ if !is_ours => {}
            SessionUpdate::AgentMessageChunk(chunk) => {
                self.timeline.end_thought();
                if chunk.message_id.is_some() && chunk.message_id != self.message {
                    // Another message of the agent: another paragraph of what it says.
                    self.conversation.interrupt();
                    self.message.clone_from(&chunk.message_id);
                }
                self.conversation.chunk(&bounded::plain_text(&text(chunk)));
            }
            SessionUpdate::AgentThoughtChunk(chunk) => {
                self.conversation.interrupt();
                self.timeline.think(&text(chunk));
            }
            SessionUpdate::ToolCall(call) => {
                self.conversation.interrupt();
                let mut data = json!({"status": "pending", "kind": "other"});
                merge(&mut data, json!(call));
                self.timeline.tool_call(&call.tool_call_id.0, data);
            }
            SessionUpdate::ToolCallUpdate(call) => {
                self.conversation.interrupt();
                self.timeline.tool_call(&call.tool_call_id.0, json!(call));
            }
            SessionUpdate::Plan(plan) => self.timeline.put("plan", TimelineKind::Plan, json!(plan)),
            SessionUpdate::UsageUpdate(usage) => self.timeline.put("usage", TimelineKind::Usage, json!(usage)),
            // What we said ourselves, and what we did not say that we understand.
            _ => {}
        }
    }

    fn about_session(&mut self, what: &'static str, told: &impl Serialize) {
        let mut data = json!(told);
        data["event"] = Value::from(what);
        self.timeline.put(what, TimelineKind::Session, data);
    }

    fn request(&mut self, method: &str, params: Value, responder: Responder) {
        match method {
            "session/request_permission" => {
                if let Some((request, responder)) = self.read::<RequestPermissionRequest>(params, responder) {
                    self.conversation.interrupt();
                    self.timeline.tool_call(&request.tool_call.tool_call_id.0, json!(request.tool_call));
                    if self.is_cancelled() {
                        Approvals::refuse(responder);
                    } else {
                        self.approvals.ask(&request, responder, &mut self.timeline);
                    }
                }
            }
            "fs/read_text_file" => {
                if let Some((request, responder)) = self.read::<ReadTextFileRequest>(params, responder) {
                    let files = self.files.clone();
                    self.tasks.spawn_blocking(move || {
                        let read = files.read(&request.path, request.line, request.limit);
                        respond(responder, read.map(ReadTextFileResponse::new));
                    });
                }
            }
            "fs/write_text_file" => {
                if let Some((request, responder)) = self.read::<WriteTextFileRequest>(params, responder) {
                    let files = self.files.clone();
                    self.tasks.spawn_blocking(move || {
                        let written = files.write(&request.path, &request.content);
                        respond(responder, written.map(|()| WriteTextFileResponse::new()));
                    });
                }
            }
            _ if method.starts_with("terminal/") => self.terminal(method, params, responder),
            _ => drop(responder.respond_with_error(Error::method_not_found())),
        }
    }

    fn terminal(&mut self, method: &str, params: Value, responder: Responder) {
        match method {
            "terminal/create" => {
                if let Some((request, responder)) = self.read::<CreateTerminalRequest>(params, responder) {
                    respond(responder, self.terminals.create(&request).map(CreateTerminalResponse::new));
                }
            }
            "terminal/output" => {
                if let Some((request, responder)) = self.read::<TerminalOutputRequest>(params, responder) {
                    respond(responder, self.terminals.output(&request.terminal_id));
                }
            }
            "terminal/wait_for_exit" => {
                if let Some((request, responder)) = self.read::<WaitForTerminalExitRequest>(params, responder) {
                    match self.terminals.exit(&request.terminal_id) {
                        Ok(exit) => drop(self.tasks.spawn(async move {
                            respond(responder, Ok::<_, Error>(WaitForTerminalExitResponse::new(exit.await)));
                        })),
                        Err(error) => respond::<()>(responder, Err(error)),
                    }
                }
            }
            "terminal/kill" => {
                if let Some((request, responder)) = self.read::<KillTerminalRequest>(params, responder) {
                    respond(responder, self.terminals.kill(&request.terminal_id).map(|()| KillTerminalResponse::new()));
                }
            }
            "terminal/release" => {
                if let Some((request, responder)) = self.read::<ReleaseTerminalRequest>(params, responder) {
                    respond(responder, self.terminals.release(&request.terminal_id).map(|()| ReleaseTerminalResponse::new()));
                }
            }
            _ => drop(responder.respond_with_error(Error::method_not_found())),
        }
    }

    /// Reads a request of the session that is open; answers any other with an error.
    fn read<T: DeserializeOwned>(&self, params: Value, responder: Responder) -> Option<(T, Responder)> {
        let session = params.get("sessionId").and_then(Value::as_str).map(|id| SessionId::new(id.to_owned()));
        if session.is_none() || session != self.session {
            let _connection_closed = responder.respond_with_error(Error::invalid_params().data("there is no such session"));
            return None;
        }
        match serde_json::from_value(params) {
            Ok(request) => Some((request, responder)),
            Err(_) => {
                let _connection_closed = responder.respond_with_error(Error::invalid_params());
                None
            }
        }
    }
}

fn respond<T: Serialize>(responder: Responder, result: Result<T, impl std::fmt::Display>) {
    let answer = match result {
        Ok(answer) => serde_json::to_value(answer).map_err(|_| Error::internal_error()),
        Err(error) => Err(Error::new(i32::from(ErrorCode::InvalidParams), error.to_string())),
    };
    let _connection_closed = responder.respond_with_result(answer);
}

/// Puts the members of `change` into an object.
fn merge(object: &mut Value, change: Value) {
    if let (Value::Object(object), Value::Object(change)) = (object, change) {
        object.extend(change);
    }
}

/// What a chunk says in words.
fn text(ContentChunk { content, .. }: ContentChunk) -> String {
    match content {
        ContentBlock::Text(text) => text.text,
        ContentBlock::ResourceLink(link) => format!("[{}]({})", link.name, link.uri),
        ContentBlock::Resource(resource) => match resource.resource {
            EmbeddedResourceResource::TextResourceContents(resource) => resource.text,
            _ => "[resource]".to_owned(),
        },
        ContentBlock::Image(_) => "[image]".to_owned(),
        ContentBlock::Audio(_) => "[audio]".to_owned(),
        _ => String::new(),
    }
}
