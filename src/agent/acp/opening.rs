//! How a program and we come to speak: who we are, what we can do, and a session.

use std::path::PathBuf;
use std::time::Duration;

use agent_client_protocol::schema::ProtocolVersion;
use agent_client_protocol::v1::ConnectionTo;
use agent_client_protocol::v1::schema::{
    AuthMethod, ClientCapabilities, ErrorCode, FileSystemCapabilities, Implementation, InitializeRequest, InitializeResponse,
    LoadSessionRequest, NewSessionRequest, SessionId,
};
use agent_client_protocol::{Agent, Error, is_incoming_transport_closed};
use tokio::time::timeout;

use super::{AcpError, bounded};

/// Longest that a program may take for each answer. Some take seconds to start.
const PATIENCE: Duration = Duration::from_secs(12);
/// Longest id of a session.
const MAX_SESSION_ID: usize = 1024;

/// What came of it.
#[derive(Debug)]
pub(super) struct Opened {
    /// The session that is spoken in.
    pub(super) session: SessionId,
    /// Whether it is the one of an earlier life.
    pub(super) how: How,
    /// What the program says it is.
    pub(super) agent: Option<Implementation>,
}

/// Whether the session is a new one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum How {
    /// There was none before.
    New,
    /// The one of an earlier life goes on.
    Loaded,
    /// That of an earlier life does not go on, for this reason.
    NewInsteadOf(String),
}

/// Opens a session for an agent that works in `work`: goes on with the session `before`, where it is able to.
pub(super) async fn open(connection: ConnectionTo<Agent>, work: PathBuf, before: Option<String>) -> Result<Opened, AcpError> {
    let initialized = initialize(&connection).await?;
    let how = match before {
        None => How::New,
        Some(_) if !initialized.agent_capabilities.load_session => How::NewInsteadOf("the agent cannot load sessions".to_owned()),
        Some(before) => {
            let request = LoadSessionRequest::new(before.clone(), work.clone());
            match asked("session/load", connection.send_request(request).block_task()).await? {
                Ok(_) => {
                    let session = SessionId::new(before);
                    return Ok(Opened { session, how: How::Loaded, agent: initialized.agent_info });
                }
                Err(error) => How::NewInsteadOf(said(&error)),
            }
        }
    };
    let answer = asked("session/new", connection.send_request(NewSessionRequest::new(work)).block_task()).await?;
    let session = answer.map_err(|error| refused(&error, &initialized))?.session_id;
    if session.0.is_empty() || session.0.len() > MAX_SESSION_ID || session.0.contains('\0') {
        return Err(AcpError::NotAcp("the id of its session is empty or too long"));
    }
    Ok(Opened { session, how, agent: initialized.agent_info })
}

async fn initialize(connection: &ConnectionTo<Agent>) -> Result<InitializeResponse, AcpError> {
    let files = FileSystemCapabilities::new().read_text_file(true).write_text_file(true);
    let request = InitializeRequest::new(ProtocolVersion::V1)
        .client_capabilities(ClientCapabilities::new().fs(files).terminal(true))
        .client_info(Implementation::new("agentapi", env!("CARGO_PKG_VERSION")));
    let answer = asked("initialize", connection.send_request(request).block_task()).await?;
    // Another version of the protocol is an error as well.
    answer.map_err(|error| AcpError::Answered("initialize", said(&error)))
}

async fn asked<T>(what: &'static str, answer: impl Future<Output = Result<T, Error>>) -> Result<Result<T, Error>, AcpError> {
    timeout(PATIENCE, unless_closed(answer)).await.map_err(|_| AcpError::NoAnswer(what))
}

/// The agent's answer. There is none from one whose output has ended: why it has is known elsewhere.
pub(super) async fn unless_closed<T>(answer: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    match answer.await {
        Err(error) if is_incoming_transport_closed(&error) => std::future::pending().await,
        answer => answer,
    }
}

fn refused(error: &Error, initialized: &InitializeResponse) -> AcpError {
    if error.code != ErrorCode::AuthRequired {
        return AcpError::Answered("session/new", said(error));
    }
    let methods: Vec<String> = initialized.auth_methods.iter().take(8).map(method).collect();
    AcpError::AuthenticationRequired(if methods.is_empty() { "nothing".to_owned() } else { methods.join(", ") })
}

fn method(method: &AuthMethod) -> String {
    bounded::words(&format!("{} ({})", method.name(), method.id()))
}

/// What an error of the agent says, as far as it is worth telling.
pub(super) fn said(error: &Error) -> String {
    let detail = error.data.as_ref().map(|data| match data {
        serde_json::Value::String(text) => text.clone(),
        data => data.to_string(),
    });
    bounded::words(&detail.map_or_else(|| error.message.clone(), |detail| format!("{}: {detail}", error.message)))
}
